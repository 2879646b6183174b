"""A warning raised while the model runs: dynamo does not trace `warnings.warn`."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def careful(_block: Any, hidden: Any) -> Any:
    warnings.warn(f"hidden states of {hidden.dtype}", stacklevel=2)  # planted
    return hidden


register(
    Fault(
        name="warning-in-block",
        summary="warnings.warn in a block",
        plant=partial(in_blocks, act=careful),
        file=here(),
        expects=("graph-break",),
        fix="warn once, when the model is built",
        spec={"compile": "regional"},
    ),
)

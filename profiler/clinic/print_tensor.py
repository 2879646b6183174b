"""A print of a tensor left over from debugging."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def show(_block: Any, hidden: Any) -> Any:
    print("mean", hidden.float().mean())  # noqa: T201  # planted
    return hidden


register(
    Fault(
        name="print-tensor",
        summary="a print of a tensor in a block",
        plant=partial(in_blocks, act=show),
        file=here(),
        expects=("graph-break", "host-sync"),
        fix="remove the print, or collect values and print after the loop",
        spec={"compile": "regional"},
    ),
)

"""A control: the blocks are another class that computes the same in the same way."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def unchanged(_block: Any, hidden: Any) -> Any:
    return hidden


register(
    Fault(
        name="control-refactor",
        summary="control: a refactoring that changes nothing",
        plant=partial(in_blocks, act=unchanged),
        file=here(),
        expects=(),
        fix="nothing to fix",
        spec={"compile": "regional"},
        placed=False,
    ),
)

"""A Python branch on a tensor's value: data-dependent control flow ends the graph."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def guard_overflow(_block: Any, hidden: Any) -> Any:
    if hidden.abs().amax() > 1e30:  # planted
        return hidden / 2
    return hidden


register(
    Fault(
        name="branch-on-tensor",
        summary="a Python branch on a tensor's value",
        plant=partial(in_blocks, act=guard_overflow),
        file=here(),
        expects=("graph-break", "host-sync"),
        fix="torch.where, or clamp without asking",
        spec={"compile": "regional"},
    ),
)

"""`.item()` in an eager block: no graph to break, and the GPU runs dry all the same."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def rescale(_block: Any, hidden: Any) -> Any:
    largest = hidden.abs().amax().item()  # planted
    return hidden / 2 if largest > 1e30 else hidden


register(
    Fault(
        name="item-in-eager-step",
        summary=".item() in an eager block",
        plant=partial(in_blocks, act=rescale),
        file=here(),
        expects=("host-sync",),
        fix="keep the value a tensor",
        needs_cuda=True,
    ),
)

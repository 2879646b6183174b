"""`.item()` in a block: the graph ends there, and the host waits for the GPU."""

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
        name="item-in-block",
        summary=".item() in a compiled block",
        plant=partial(in_blocks, act=rescale),
        file=here(),
        expects=("graph-break", "host-sync"),
        fix="keep the value a tensor: torch.where(largest > 1e30, hidden / 2, hidden)",
        spec={"compile": "regional"},
    ),
)

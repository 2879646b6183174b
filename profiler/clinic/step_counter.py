"""A Python counter on the module that counts steps: each step is another constant, and another compilation."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def scaled(block: Any, hidden: Any) -> Any:
    block.calls_made += 1
    return hidden * (1.0 + 1e-6 * block.calls_made)


def plant(pipe: Any) -> None:
    import torch

    # Otherwise dynamo gives up after eight: that is a fault of its own.
    torch._dynamo.config.recompile_limit = 1000
    torch._dynamo.config.accumulated_recompile_limit = 10000
    for block in pipe.transformer.transformer_blocks:
        block.calls_made = 0
    in_blocks(pipe, scaled)


register(
    Fault(
        name="step-counter",
        summary="an int attribute that changes in every step",
        plant=plant,
        file=here(),
        expects=("recompile",),
        fix="keep the counter in a tensor, or outside of the compiled block",
        base="flux, compiled cheaply",
        spec={"compile": "regional", "steps": 2, "trace_steps": 1, "repeats": 1, "warmup": 0},
        placed=False,
    ),
)

"""A list on the module that grows in every step: its length is guarded, so each step compiles again."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def remembered(block: Any, hidden: Any) -> Any:
    block.seen.append(hidden.mean())
    return hidden + 0 * block.seen[-1]


def plant(pipe: Any) -> None:
    import torch

    # Otherwise dynamo gives up after eight: that is a fault of its own.
    torch._dynamo.config.recompile_limit = 1000
    torch._dynamo.config.accumulated_recompile_limit = 10000
    for block in pipe.transformer.transformer_blocks:
        block.seen = []
    in_blocks(pipe, remembered)


register(
    Fault(
        name="growing-list",
        summary="a Python list that grows in every step",
        plant=plant,
        file=here(),
        expects=("recompile",),
        fix="write into a tensor of fixed size, or collect outside of the compiled block",
        base="flux, compiled cheaply",
        spec={"compile": "regional", "steps": 2, "trace_steps": 1, "repeats": 1, "warmup": 0},
        placed=False,
    ),
)

"""A constant that changes in every step: after two versions dynamo gives up, and the block runs eagerly without a word."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def scaled(block: Any, hidden: Any) -> Any:
    block.calls_made += 1
    return hidden * (1.0 + 1e-6 * block.calls_made)


def plant(pipe: Any) -> None:
    import torch

    # Each version takes Inductor seconds.
    torch._dynamo.config.recompile_limit = 2
    for block in pipe.transformer.transformer_blocks:
        block.calls_made = 0
    in_blocks(pipe, scaled)


register(
    Fault(
        name="recompile-limit",
        summary="the recompile limit is hit: quietly eager",
        plant=plant,
        file=here(),
        expects=("recompile-limit",),
        fix="keep the counter in a tensor, or outside of the compiled block",
        spec={"compile": "regional", "steps": 5, "trace_steps": 5, "warmup": 1},
        placed=False,
    ),
)

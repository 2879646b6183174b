"""A function that dynamo was told to leave alone, called in every block."""

from __future__ import annotations

from functools import cache
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def shift(hidden: Any) -> Any:
    return hidden + 1e-6


def shifted(block: Any, hidden: Any) -> Any:
    return block.shift(hidden)  # planted


def plant(pipe: Any) -> None:
    import torch

    for block in pipe.transformer.transformer_blocks:
        block.shift = _disabled(shift, torch)
    in_blocks(pipe, shifted)


@cache
def _disabled(function: Any, torch: Any) -> Any:
    return torch._dynamo.disable(function)


register(
    Fault(
        name="disabled-function",
        summary="a torch._dynamo.disable'd function in a block",
        plant=plant,
        file=here(),
        expects=("graph-break",),
        fix="take @torch._dynamo.disable off, or call it outside of the compiled block",
        spec={"compile": "regional"},
    ),
)

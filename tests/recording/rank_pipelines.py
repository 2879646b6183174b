"""Pipelines that tests record over several ranks as `rank_pipelines:function`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import torch

from profiler.models.base import MODELS

# Products that rank 1 makes before each block, 80 ms a step on one core: many times what all communication of a tiny model takes.
EXTRA = 8


def slow_and_dying(device: str, dtype: Any, seed: int) -> Any:
    """Rank 1 works more than rank 0 in every block, and kills itself in its third call under a profiler: the memory call."""
    pipe = MODELS.get("flux-tiny").build(device, dtype, seed)
    if os.environ["RANK"] == "1":
        for block in (*pipe.transformer.transformer_blocks, *pipe.transformer.single_transformer_blocks):
            _before(block, _work)
        _before(pipe.transformer, _Dying())
    return pipe


def _before(module: Any, does: Callable[[], None]) -> None:
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        does()
        return inner(*args, **kwargs)

    module.forward = forward


def _work() -> None:
    matrix = torch.ones(512, 512)
    for _ in range(EXTRA):
        torch.mm(matrix, matrix)


class _Dying:
    """Ends the process in the third of its calls that a profiler records."""

    profiled = 0

    def __call__(self) -> None:
        self.profiled += torch.autograd._profiler_enabled()
        if self.profiled == 3:
            os.kill(os.getpid(), signal.SIGKILL)

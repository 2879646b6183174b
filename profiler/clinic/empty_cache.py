"""`torch.cuda.empty_cache()` in every step: the next one asks the driver for its memory again."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_steps


def tidy(sample: Any) -> Any:
    import torch

    torch.cuda.empty_cache()  # planted
    return sample


register(
    Fault(
        name="empty-cache",
        summary="torch.cuda.empty_cache() in every step",
        plant=partial(in_steps, act=tidy),
        file=here(),
        expects=("allocator-in-step",),
        fix="remove it: the allocator reuses its memory by itself",
        spec={"compile": "regional"},
        needs_cuda=True,
    ),
)

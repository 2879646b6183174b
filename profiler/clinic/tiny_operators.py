"""Thousands of tiny operators in a Python loop: the GPU waits for each launch."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_steps


def smooth(sample: Any) -> Any:
    for _ in range(4000):
        sample = sample * 1.0
    return sample


register(
    Fault(
        name="tiny-operators",
        summary="a Python loop of tiny eager operators in every step",
        plant=partial(in_steps, act=smooth),
        file=here(),
        expects=("launch-bound",),
        fix="compile the loop, or write it as one operator on the whole tensor",
        spec={"compile": "regional"},
        needs_cuda=True,
        placed=False,
    ),
)

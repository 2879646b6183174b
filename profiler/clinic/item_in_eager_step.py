"""`.item()` between the compiled parts of a step: no graph to break, and the GPU runs dry all the same."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_steps


def rescale(sample: Any) -> Any:
    largest = sample.abs().amax().item()  # planted
    return sample / 2 if largest > 1e30 else sample


register(
    Fault(
        name="item-in-eager-step",
        summary=".item() in the eager part of a step",
        plant=partial(in_steps, act=rescale),
        file=here(),
        expects=("host-sync",),
        fix="keep the value a tensor",
        spec={"compile": "regional"},
        needs_cuda=True,
    ),
)

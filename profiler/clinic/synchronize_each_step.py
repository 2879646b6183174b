"""`torch.cuda.synchronize()` in every step, left over from timing by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_steps


def wait(sample: Any) -> Any:
    import torch

    torch.cuda.synchronize()  # planted
    return sample


register(
    Fault(
        name="synchronize-each-step",
        summary="torch.cuda.synchronize() in every step",
        plant=partial(in_steps, act=wait),
        file=here(),
        expects=("host-sync",),
        fix="remove it: events or a profiler tell time without waiting",
        spec={"compile": "regional"},
        needs_cuda=True,
    ),
)

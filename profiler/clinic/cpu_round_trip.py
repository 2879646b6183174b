"""Latents that go to the CPU and come back in every step."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_steps


def through_the_cpu(sample: Any) -> Any:
    return sample.cpu().to(sample.device)  # planted


register(
    Fault(
        name="cpu-round-trip",
        summary=".cpu() and back in every step",
        plant=partial(in_steps, act=through_the_cpu),
        file=here(),
        expects=("host-sync", "pageable-copy"),
        fix="do it on the device that the latents are on",
        spec={"compile": "regional"},
        needs_cuda=True,
    ),
)

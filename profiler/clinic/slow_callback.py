"""A callback between steps that takes its time in Python."""

from __future__ import annotations

import time
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_calls


def preview(_pipe: Any, _step: int, _timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.02)  # planted
    return kwargs


def plant(pipe: Any) -> None:
    in_calls(pipe, lambda given: given | {"callback_on_step_end": preview})


register(
    Fault(
        name="slow-callback",
        summary="a callback that sleeps between steps",
        plant=plant,
        file=here(),
        expects=("python-in-step", "idle-between-steps"),
        fix="do it after the loop, or in a thread of its own",
        spec={"compile": "regional"},
    ),
)

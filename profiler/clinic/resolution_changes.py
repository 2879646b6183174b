"""Another picture size in every second call: shapes that were never compiled before."""

from __future__ import annotations

import itertools
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_calls


def plant(pipe: Any) -> None:
    calls = itertools.count()

    def resized(given: dict[str, Any]) -> dict[str, Any]:
        larger = {name: given[name] + 32 for name in ("height", "width")}
        return given | larger if next(calls) % 2 else given

    in_calls(pipe, resized)


register(
    Fault(
        name="resolution-changes",
        summary="the resolution changes between calls",
        plant=plant,
        file=here(),
        expects=("recompile",),
        fix="call once with each size before it counts, or compile with dynamic=True",
        base="flux, compiled cheaply",
        spec={"compile": "regional", "warmup": 1},
        once=True,
        placed=False,
    ),
)

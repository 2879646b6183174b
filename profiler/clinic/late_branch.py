"""A code path of late steps alone: the short warm-up never runs it, so it is compiled in the first timed call."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks, in_calls, in_steps


def refined(block: Any, hidden: Any) -> Any:
    return hidden * 1.0001 if block.late else hidden


def plant(pipe: Any) -> None:
    blocks = list(pipe.transformer.transformer_blocks)

    def switch(sample: Any) -> Any:
        for block in blocks:
            block.late = True
        return sample

    def begin(given: dict[str, Any]) -> dict[str, Any]:
        for block in blocks:
            block.late = False
        return given

    in_calls(pipe, begin)
    in_steps(pipe, switch)
    in_blocks(pipe, refined)


register(
    Fault(
        name="late-branch",
        summary="the warm-up misses a code path of later steps",
        plant=plant,
        file=here(),
        expects=("warmup-in-timed", "recompile"),
        fix="warm up with as many steps as a call has: --trace-steps as --steps",
        spec={"compile": "regional", "steps": 2, "trace_steps": 1, "repeats": 4},
        once=True,
        placed=False,
    ),
)

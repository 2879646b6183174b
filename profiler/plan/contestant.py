"""A process that holds one transformer, quantized and compiled as asked, and says how long its steps take, as often as asked.

Reads a line of JSON from standard input: the spec and each Linear's name, shape and scheme. Answers a line of JSON when it is
warm, and one for each number of steps that it is sent after that. It ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import IO, Any

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.plan.layers import PART
from profiler.recording.quiet import set_quiet_environment

# Compiling, autotuning of libraries, and what a CUDA graph needs before it is replayed.
_WARM_STEPS = 4


def main() -> int:
    """Build, get warm, answer."""
    answers = _answers()
    asked = json.loads(sys.stdin.readline())
    set_quiet_environment()
    try:
        _serve(asked, answers)
    except Exception as error:  # noqa: BLE001 - whatever schemes, compilers or the driver raise is the answer
        # Its parent may be gone, and nobody asks.
        with contextlib.suppress(BrokenPipeError):
            _say(answers, {"failed": _reason(error)})
        return 1
    return 0


def _serve(asked: dict[str, Any], answers: IO[str]) -> None:
    step, device = _build(RunSpec.from_dict(asked["spec"]), asked["linears"])
    _timed(step, device, _WARM_STEPS)
    _release(device)
    _say(answers, {"failed": None})
    for line in sys.stdin:
        _say(answers, {"step_us": _timed(step, device, int(line))})


def _reason(error: Exception) -> str:
    """One line; of an error whose first line only says where it comes from, the next too."""
    lines = [each.strip() for each in str(error).splitlines() if each.strip()]
    told = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    return f"{type(error).__name__}: {told}"[:300]


def _answers() -> IO[str]:
    """Standard output, kept for answers alone: what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _say(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _build(spec: RunSpec, linears: list[dict[str, Any]]) -> tuple[Callable[[], Any], str]:
    from types import SimpleNamespace

    from profiler.compilers.base import COMPILERS
    from profiler.plan.gains import transformer_call
    from profiler.recording.compile_counts import keep_every_compile
    from profiler.recording.device import find_hardware
    from profiler.recording.runner import quiet_libraries
    from profiler.recording.tuned import apply_tuned
    from profiler.schemes.apply import quantize
    from profiler.schemes.base import LinearPlan
    from profiler.schemes.tuned import SCHEME

    quiet_libraries()
    hardware = find_hardware(spec.device)
    made = transformer_call(spec, hardware.device)
    if made is None:
        raise UsageError(f"the inputs of {spec.model} are not known", "leave whole steps out: --no-whole-steps")
    module, call = made
    plans = [LinearPlan(**each) for each in linears]
    quantize(module, plans, prefix=f"{PART}.", torchao_defaults=False)
    # As a recorded plan would have it: each int8dq Linear the kernel that its shape has.
    apply_tuned(replace(spec, scheme=SCHEME), hardware, SimpleNamespace(**{PART: module}), plans)
    keep_every_compile()
    COMPILERS.get(spec.compile).apply(module)
    return call, hardware.device


def _timed(step: Callable[[], Any], device: str, count: int) -> float:
    """Microseconds of a step, of `count` in a row; with what the host takes, as in a call of the pipeline."""
    import torch

    with torch.no_grad():
        _wait(device)
        start = time.perf_counter_ns()
        for _ in range(count):
            step()
        _wait(device)
    return (time.perf_counter_ns() - start) / 1e3 / count


def _release(device: str) -> None:
    """Give back what building took: the other assignments need room beside this one."""
    import gc

    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())

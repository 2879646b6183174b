"""The rate of our own fastest kernel at one large product: what cuBLASLt reaches is no limit where another kernel is faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from profiler.kernels.candidate import Candidate, Shape
from profiler.schemes.base import Hardware
from profiler.tune.search import Bench

# As large as those that `measure_ceilings` takes of cuBLASLt.
LARGE = Shape(8192, 8192, 8192)
_MOST, _REPEATS = 8, 7


def measure_own(
    hardware: Hardware, bench: Bench, candidates: Callable[[Shape, Any], list[Candidate]]
) -> tuple[str, float] | None:
    """(kernel and shape, TOPS) of the fastest right one of a few kernels; None on a CPU, and where none of them runs.

    Args:
        bench: compiles, times and checks.
        candidates: (shape, hardware) -> what can compute it, the likely best first.
    """
    offered = candidates(LARGE, hardware) if hardware.device == "cuda" else []
    kernels = [each.kernel for each in offered if each.space == offered[0].space][:_MOST]
    failed = bench.prepare(LARGE, kernels, lambda: None) if kernels else {}
    times: dict[str, float] = {}
    for kernel in (each for each in kernels if each not in failed):
        try:
            times[kernel] = bench.time_us(LARGE, kernel, _REPEATS)
        except Exception:  # noqa: BLE001 - whatever a kernel's launch raises, it sets no limit
            continue
    for kernel in sorted(times, key=times.__getitem__):
        if not bench.faults(LARGE, [kernel]):
            return f"{kernel} at {LARGE}", LARGE.ops / times[kernel] / 1e6
    return None

"""How long a kernel takes: events on a GPU with the L2 flushed before each call, a clock on a CPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

# More than the L2 of any GPU so far.
_FLUSH_BYTES = 256 << 20
# GPU cycles to wait before the first call, for each call: longer than the host needs to launch one.
_HEAD_START = 400_000


class Timer:
    """Times calls on one device.

    Args:
        device: "cuda" or "cpu".
    """

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        self._flush: Any = None

    def median_us(self, call: Callable[[], Any], repeats: int) -> float:
        """The median of `repeats` calls in microseconds, after one that is not counted."""
        call()
        return float(statistics.median(self._events(call, repeats) if self._cuda else _clock(call, repeats)))

    def _events(self, call: Callable[[], Any], repeats: int) -> list[float]:
        import torch

        if self._flush is None:
            self._flush = torch.empty(_FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")
        pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
        # The host gets ahead while the GPU waits: what lies between two events is then the kernel alone, and no launch.
        torch.cuda._sleep(_HEAD_START * repeats)
        for start, end in pairs:
            self._flush.zero_()
            start.record()
            call()
            end.record()
        torch.cuda.synchronize()
        return [start.elapsed_time(end) * 1e3 for start, end in pairs]


def _clock(call: Callable[[], Any], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e3)
    return times

"""What is timed, and in which order: on a made-up GPU, and by the clock."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from profiler.tune.timing import Timer


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A GPU that writes down what it is asked for; its first event pair lasts 1 ms, the next 2 ms, and so on."""
    log: list[str] = []
    pairs: list[Any] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing
            pairs.append(self)
            self.number = len(pairs)

        def record(self) -> None:
            log.append("start" if self.number % 2 else "end")

        def elapsed_time(self, end: Any) -> float:
            assert log[-1] == "synchronize", "times are read once all is done"
            assert end.number == self.number + 1
            return float(end.number // 2)

    class Buffer:
        def zero_(self) -> None:
            log.append("flush")

    def empty(size: int, **more: Any) -> Buffer:
        assert (size * 4, more) == (256 << 20, {"dtype": torch.int32, "device": "cuda"})
        return Buffer()

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: log.append("ahead" if cycles >= 3 * 300_000 else "too short"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("synchronize"))
    return log


def test_on_a_gpu_each_call_finds_a_flushed_l2_and_a_host_that_is_ahead(gpu: list[str]):
    assert Timer("cuda").median_us(lambda: gpu.append("call"), 3) == 2000.0
    assert gpu == ["call", "ahead", *["flush", "start", "call", "end"] * 3, "synchronize"]


def test_on_a_cpu_by_the_clock(monkeypatch: pytest.MonkeyPatch):
    times = iter([0, 1_000, 10_000, 15_000, 20_000, 90_000])
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(times))
    calls: list[int] = []
    assert Timer("cpu").median_us(lambda: calls.append(1), 3) == 5.0
    assert len(calls) == 4, "the first is not counted"

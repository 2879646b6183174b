"""The rate of our own fastest kernel: of the first space, right, or none."""

from __future__ import annotations

import pytest
from tune_fakes import FakeBench, candidates

from profiler.schemes.base import Hardware
from profiler.tune.own_ceiling import LARGE, measure_own

H100 = Hardware("cuda", (9, 0), "NVIDIA H100")
TIMES = {"one:a": 800.0, "one:b": 700.0, "one:c": 600.0, "two:fast": 1.0}


def measured(bench: FakeBench, hardware: Hardware = H100) -> tuple[str, float] | None:
    return measure_own(hardware, bench, lambda shape, _hardware: candidates(*TIMES) if shape == LARGE else [])


def reached(kernel: str) -> tuple[str, float]:
    return f"{kernel} at 8192x8192x8192", pytest.approx(2 * 8192**3 / TIMES[kernel] / 1e6)


def test_the_fastest_of_the_first_space_counts():
    bench = FakeBench(TIMES)
    assert measured(bench) == reached("one:c")
    assert bench.checked == ["one:c"]
    assert {name for name, _ in bench.timed} == {"one:a", "one:b", "one:c"}


def test_wrong_kernels_set_no_limit():
    assert measured(FakeBench(TIMES, wrong={"one:c"})) == reached("one:b")
    assert measured(FakeBench(TIMES, broken={"one:c"}, crashing={"one:b"})) == reached("one:a")
    assert measured(FakeBench(TIMES, wrong={"one:a", "one:b", "one:c"})) is None


def test_a_cpu_has_none():
    bench = FakeBench(TIMES)
    assert measured(bench, Hardware("cpu")) is None
    assert bench.timed == []

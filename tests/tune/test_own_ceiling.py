"""The rate of our own fastest kernel: of the first space, right, or none."""

from __future__ import annotations

import pytest
from tune_fakes import FakeBench, candidates

from profiler.schemes.base import Hardware
from profiler.tune.own_ceiling import LARGE, measure_own

H100 = Hardware("cuda", (9, 0), "NVIDIA H100")
TIMES = {"one:a": 800.0, "one:b": 700.0, "one:c": 600.0, "two:fast": 1.0}


def measured(bench: FakeBench, hardware: Hardware = H100) -> dict[str, float]:
    return measure_own(hardware, bench, lambda shape, _hardware: candidates(*TIMES) if shape == LARGE else [])


def rate(us: float) -> dict[str, float]:
    return {"own_int8_tops": pytest.approx(2 * 8192**3 / us / 1e6)}


def test_the_fastest_of_the_first_space_counts():
    bench = FakeBench(TIMES)
    assert measured(bench) == rate(600.0)
    assert bench.checked == ["one:c"]
    assert {name for name, _ in bench.timed} == {"one:a", "one:b", "one:c"}


def test_wrong_kernels_set_no_limit():
    assert measured(FakeBench(TIMES, wrong={"one:c"})) == rate(700.0)
    assert measured(FakeBench(TIMES, broken={"one:c"}, crashing={"one:b"})) == rate(800.0)
    assert measured(FakeBench(TIMES, wrong={"one:a", "one:b", "one:c"})) == {}


def test_a_cpu_has_none():
    bench = FakeBench(TIMES)
    assert measured(bench, Hardware("cpu")) == {}
    assert bench.timed == []

"""The search on a made-up device: what is timed, what is checked, and what wins."""

from __future__ import annotations

import pytest
from tune_fakes import FakeBench, candidates

from profiler.core.errors import Refused
from profiler.kernels.candidate import Shape
from profiler.tune.search import search

SHAPE = Shape(4608, 3072, 12288)
MANY = {f"one:{index:03}": 100.0 + (index * 37) % 101 for index in range(96)}


def test_the_fastest_wins_and_slow_ones_are_timed_once():
    bench = FakeBench(MANY)
    found = search(SHAPE, candidates(*MANY), bench)
    fastest = min(MANY, key=MANY.__getitem__)
    assert (found.best.kernel, found.us) == (fastest, MANY[fastest])
    assert (found.candidates, found.wrong, found.failed) == (96, {}, {})
    calls = {name: sum(repeats for each, repeats in bench.timed if each == name) for name in MANY}
    assert calls[max(MANY, key=MANY.__getitem__)] == 2
    assert calls[fastest] == 2 + 7 + 15 + 31
    assert sum(each > 2 for each in calls.values()) == 8, "a twelfth goes on"
    assert len(bench.checked) == 8


def test_each_round_leaves_half():
    bench = FakeBench(MANY)
    search(SHAPE, candidates(*MANY), bench)
    assert [len({name for name, each in bench.timed if each == repeats}) for repeats in (2, 7, 15, 31)] == [96, 8, 4, 2]


def test_a_planted_wrong_kernel_is_rejected_and_counted_although_it_is_the_fastest():
    bench = FakeBench({**MANY, "one:wrong": 1.0, "one:wrong too": 2.0}, wrong={"one:wrong", "one:wrong too"})
    found = search(SHAPE, candidates(*bench.times), bench)
    assert found.best.kernel == min(MANY, key=MANY.__getitem__)
    assert found.wrong == {"one:wrong": "7 outputs are wrong", "one:wrong too": "7 outputs are wrong"}
    assert [repeats for name, repeats in bench.timed if "wrong" in name] == [2, 2], "never timed again"


def test_wrong_ones_take_no_room_from_right_ones():
    # More wrong ones than enter the second round, all of them faster than the one right kernel.
    times = {f"one:wrong {index}": 1.0 + index for index in range(60)} | {"one:right": 99.0}
    bench = FakeBench(times, wrong=set(times) - {"one:right"})
    found = search(SHAPE, candidates(*times), bench)
    assert found.best.kernel == "one:right"
    assert len(found.wrong) == 60


def test_a_kernel_that_is_wrong_without_a_bias_does_not_win():
    bench = FakeBench({"one:a": 1.0, "one:b": 2.0}, late={"one:a"})
    found = search(SHAPE, candidates("one:a", "one:b"), bench)
    assert found.best.kernel == "one:b"
    assert found.wrong == {"one:a": "wrong without a bias"}


def test_what_does_not_compile_or_crashes_is_counted_apart():
    bench = FakeBench({"one:a": 5.0, "one:b": 1.0, "one:c": 1.0}, broken={"one:b"}, crashing={"one:c"})
    found = search(SHAPE, candidates(*bench.times), bench)
    assert found.best.kernel == "one:a"
    assert found.failed == {"one:b": "does not compile", "one:c": "RuntimeError: an illegal access"}
    assert found.wrong == {}


def test_the_best_of_every_space_is_kept():
    times = MANY | {"slow:a": 900.0, "slow:b": 800.0, "slow:wrong": 700.0}
    found = search(SHAPE, candidates(*times), FakeBench(times, wrong={"slow:wrong"}))
    assert {space: each.kernel for space, (each, _) in found.spaces.items()} == {"one": found.best.kernel, "slow": "slow:b"}
    assert found.spaces["slow"][1] == 800.0


def test_the_winner_is_the_best_of_its_space_whatever_two_lucky_calls_said():
    found = search(SHAPE, candidates("one:a", "one:b"), FakeBench({"one:a": 5.0, "one:b": 9.0}, lucky={"one:b": 1.0}))
    assert (found.best.kernel, found.us) == ("one:a", 5.0)
    assert {space: (each.kernel, us) for space, (each, us) in found.spaces.items()} == {"one": ("one:a", 5.0)}


def test_progress_counts_each_candidate_twice():
    ticks = []
    search(SHAPE, candidates("one:a", "one:b"), FakeBench({"one:a": 1.0, "one:b": 2.0}), lambda: ticks.append(1))
    assert len(ticks) == 4


def test_no_candidate_is_refused():
    with pytest.raises(Refused, match="no kernel fits 4608x3072x12288"):
        search(SHAPE, [], FakeBench({}))


@pytest.mark.parametrize(("attribute", "why"), [("wrong", "7 outputs are wrong"), ("broken", "does not compile")])
def test_no_right_candidate_is_refused_with_a_reason(attribute: str, why: str):
    with pytest.raises(Refused, match=f"no kernel is right for 4608x3072x12288: one:a: {why}"):
        search(SHAPE, candidates("one:a"), FakeBench({"one:a": 1.0}, **{attribute: {"one:a"}}))

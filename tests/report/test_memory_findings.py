"""Bytes are granted once: what two findings are about is one finding's cost, and named by the other."""

from __future__ import annotations

import json

import pytest

from profiler.core.finding import Finding
from profiler.report.memory_findings import MemoryFindings, grant_bytes, render, to_json

_SIZES = {1: 100, 2: 50, 3: 10}
_MIB = 1 << 20


def _finding(rule, held=(), **more):
    return Finding(rule=rule, title=f"about {rule}", window="decode", memory=True, held=held, change="less", **more)


def _by_rule(granted):
    return {each.finding.rule: each for each in granted}


def test_an_allocation_is_the_cost_of_one_finding():
    granted = _by_rule(grant_bytes([(30, _finding("late", (1, 2))), (20, _finding("early", (2, 3)))], _SIZES, 1000))
    assert (granted["early"].cost_bytes, granted["early"].shared_bytes) == (60, {})
    assert (granted["late"].cost_bytes, granted["late"].shared_bytes) == (100, {"early": 50})
    assert granted["late"].claimed_bytes == 150
    assert sum(each.cost_bytes for each in granted.values()) == sum(_SIZES.values())


def test_of_equal_priority_the_larger_claim_is_first():
    granted = _by_rule(grant_bytes([(30, _finding("small", (2,))), (30, _finding("large", (1, 2)))], _SIZES, 1000))
    assert (granted["large"].cost_bytes, granted["small"].cost_bytes) == (150, 0)
    assert granted["small"].shared_bytes == {"large": 50}


def test_a_cost_that_is_no_allocation_counts_in_the_size_of_the_claim():
    granted = _by_rule(
        grant_bytes([(30, _finding("beside", (2,), cost_bytes=200)), (30, _finding("held", (1, 2)))], _SIZES, 1000)
    )
    assert (granted["beside"].cost_bytes, granted["held"].cost_bytes) == (250, 100)


def test_two_findings_of_one_rule_do_not_count_twice_either():
    first, second = grant_bytes([(30, _finding("a", (1, 1, 2))), (30, _finding("a", (1,)))], _SIZES, 1000)
    assert sorted([first.cost_bytes, second.cost_bytes]) == [0, 150]


def test_what_is_no_allocation_at_the_peak_comes_on_top():
    (each,) = grant_bytes([(30, _finding("a", (3, 99), cost_bytes=7))], _SIZES, 170)
    assert (each.cost_bytes, each.share) == (17, 0.1)


@pytest.mark.parametrize(("low", "severity"), [(200, "critical"), (199, "high"), (50, "high"), (10, "medium"), (9, "low")])
def test_severity_goes_by_the_low_end_as_a_share_of_the_peak(low, severity):
    (each,) = grant_bytes([(30, _finding("a", saving_low_bytes=low, saving_high_bytes=1000))], _SIZES, 1000)
    assert each.severity == severity


def test_what_the_allocator_gives_back_itself_is_never_more_than_medium():
    granted = grant_bytes(
        [(50, _finding("memory-fragmentation", saving_low_bytes=900)), (40, _finding("b", saving_low_bytes=60))], _SIZES, 1000
    )
    assert [(each.finding.rule, each.severity) for each in granted] == [("b", "high"), ("memory-fragmentation", "medium")]


def test_what_ended_the_run_comes_first():
    granted = grant_bytes([(1, _finding("out-of-memory", cost_bytes=5)), (40, _finding("b", saving_low_bytes=900))], _SIZES, 1000)
    assert [(each.finding.rule, each.severity) for each in granted] == [("out-of-memory", "critical"), ("b", "critical")]


def test_a_peak_that_is_not_known_has_no_shares():
    (each,) = grant_bytes([(30, _finding("a", (1,), saving_low_bytes=5))], _SIZES, 0)
    assert (each.share, each.severity) == (0.0, "low")


def test_the_text_and_the_json():
    first = _finding("a", (1,), saving_low_bytes=10 * _MIB, saving_high_bytes=20 * _MIB, evidence=("seen\x1b[2J so",))
    second = _finding("b", (1,), saving_low_bytes=_MIB, saving_high_bytes=_MIB)
    found = MemoryFindings(200 * _MIB, grant_bytes([(1, first), (2, second)], {1: 50 * _MIB}, 200 * _MIB))
    text = render(found)
    assert text.startswith("memory (shares of the peak, 0.195 GiB):\n\n! m1. about a  [high]\n")
    assert "costs  50.00 MiB (25.0%), saves 10.00 MiB to 20.00 MiB" in text
    assert "costs  50.00 MiB (25.0%), saves 1.00 MiB" in text
    assert "with   a: 50.00 MiB of these are its too, and are saved only once" in text
    assert "\x1b" not in text
    data = json.loads(json.dumps(to_json(found)))
    assert data["peak_bytes"] == 200 * _MIB
    assert [each["cost_bytes"] for each in data["findings"]] == [50 * _MIB, 0]
    assert data["findings"][1]["shared_bytes"] == {"a": 50 * _MIB}
    assert data["findings"][0]["saving_bytes"] == {"low": 10 * _MIB, "high": 20 * _MIB}
    assert render(MemoryFindings()) == ""

"""Each ledger row has one owner: whatever rules claim, no time is counted twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.core.finding import CRITICAL, HIGH, LOW, MEDIUM, Finding, Saving, severity
from profiler.report.diagnose_text import _price
from profiler.report.grant import grant

ROWS = [f"row{number}" for number in range(8)]
WINDOWS = ("text", "step", "decode")
_NS = st.integers(0, 10**9)


@st.composite
def _prices(draw):
    """For each window what each of its rows costs, and the least that it may."""
    prices = {}
    for window in WINDOWS:
        rows = draw(st.lists(st.sampled_from(ROWS), unique=True))
        costs = [draw(_NS) for _ in rows]
        prices[window] = {
            row: (float(cost), float(draw(st.sampled_from([0, cost])))) for row, cost in zip(rows, costs, strict=True)
        }
    return prices


_FINDINGS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.builds(
            Finding,
            rule=st.sampled_from(["a", "b", "c", "d"]),
            title=st.just("t"),
            window=st.sampled_from(WINDOWS),
            claims=st.lists(st.sampled_from([*ROWS, "of no window"])).map(tuple),
            cost_ns=st.sampled_from([0.0, 0.0, 7e6]),
            once=st.booleans(),
            saving=st.builds(Saving, share_low=st.floats(0, 0.5), share_high=st.floats(0.5, 1)),
        ),
    ),
    max_size=12,
)


def _durations(prices, repeats=28.0):
    return {name: (sum(cost for cost, _ in rows.values()), repeats if name == "step" else 1.0) for name, rows in prices.items()}


@given(_FINDINGS, _prices())
def test_rows_are_granted_once_and_never_cost_more_than_their_window(findings, prices):
    granted = grant(findings, prices, _durations(prices))
    owned = [(each.finding.window, row) for each in granted for row in each.rows]
    assert len(owned) == len(set(owned))
    for window, (dur_ns, _) in _durations(prices).items():
        claimed = sum(each.cost_ns - each.finding.cost_ns for each in granted if each.finding.window == window)
        assert claimed <= dur_ns * (1 + 1e-12)


@given(_FINDINGS, _prices())
def test_every_claimed_row_has_an_owner_of_the_smallest_priority(findings, prices):
    granted = grant(findings, prices, _durations(prices))
    owner = {(each.finding.window, row): each.finding for each in granted for row in each.rows}
    for priority, finding in findings:
        for row in finding.claims:
            first = owner[finding.window, row]
            assert min(number for number, other in findings if other == first) <= priority


@given(_FINDINGS, _prices())
def test_who_gets_nothing_is_named_by_the_owners(findings, prices):
    granted = grant(findings, prices, _durations(prices))
    listed = [id(each.finding) for each in granted]
    owner = {(each.finding.window, row): each for each in granted for row in each.rows}
    for _, finding in findings:
        if id(finding) not in listed:
            assert finding.claims and not finding.cost_ns
            assert all(finding.rule in owner[finding.window, row].also for row in finding.claims)
    for each in granted:
        assert len(each.also) == len(set(each.also))
        assert each.rows or not each.finding.claims or each.finding.cost_ns


@given(_FINDINGS, _prices())
def test_findings_are_ranked_by_what_they_cost_a_call_and_one_time_costs_after_them(findings, prices):
    granted = grant(findings, prices, _durations(prices))
    ranks = [(each.finding.once, -each.per_call_ns) for each in granted]
    assert ranks == sorted(ranks)
    for each in granted:
        assert each.per_call_ns == each.cost_ns * (28 if each.finding.window == "step" and not each.finding.once else 1)
        assert 0 <= each.saving_low_ns <= each.saving_high_ns <= each.cost_ns


@given(_FINDINGS, _prices())
def test_cost_and_what_others_account_for_are_the_claim(findings, prices):
    for each in grant(findings, prices, _durations(prices)):
        rows = prices[each.finding.window]
        claim = sum(rows.get(row, (0, 0))[0] for row in set(each.finding.claims)) + each.finding.cost_ns
        assert each.cost_ns + sum(each.elsewhere_ns.values()) == pytest.approx(claim)


def _finding(rule="a", claims=(), **more):
    return Finding(rule=rule, title=rule, window=more.pop("window", "step"), claims=tuple(claims), **more)


PRICES = {"step": {"x": (60.0, 60.0), "y": (30.0, 0.0), "z": (10.0, 10.0)}, "decode": {"x": (1000.0, 1000.0)}}
TIMES = {"step": (100.0, 28.0), "decode": (1000.0, 1.0)}


def _granted(*findings):
    return {each.finding.rule: each for each in grant(findings, PRICES, TIMES)}


def test_the_specific_cause_goes_before_the_general_one():
    found = _granted((50, _finding("general", "xy")), (5, _finding("specific", "yz")))
    assert (found["specific"].rows, found["specific"].cost_ns) == (["y", "z"], 40)
    assert (found["general"].rows, found["general"].cost_ns) == (["x"], 60)
    assert (found["specific"].also, found["general"].also) == (["general"], [])
    assert found["general"].elsewhere_ns == {"specific": 30}


def test_of_one_priority_the_larger_claim_goes_first():
    found = _granted((5, _finding("small", "z")), (5, _finding("large", "xz")))
    assert list(found) == ["large"]
    assert found["large"].also == ["small"]


def test_the_same_row_of_two_windows_is_two_rows():
    found = _granted((5, _finding("a", "x")), (5, _finding("b", "x", window="decode")))
    assert (found["a"].cost_ns, found["b"].cost_ns) == (60, 1000)
    # 28 steps of 60 are more than one decode of 1000.
    assert list(found) == ["a", "b"]


def test_a_row_claimed_twice_by_one_finding_counts_once():
    found = _granted((5, _finding("a", ["x", "x"])))
    assert (found["a"].rows, found["a"].cost_ns, found["a"].also) == (["x"], 60, [])


def test_the_low_end_of_a_saving_knows_what_may_be_nothing():
    found = _granted((5, _finding("a", "xy", saving=Saving(share_low=0.5, share_high=1.0, extra_low_ns=1, extra_high_ns=7))))
    assert (found["a"].cost_ns, found["a"].saving_low_ns, found["a"].saving_high_ns) == (90, 31, 97)


def test_once_is_no_share_of_a_window_and_is_not_repeated():
    found = _granted((5, _finding("a", cost_ns=1e9, once=True, saving=Saving(share_low=1.0))))
    assert (found["a"].per_call_ns, found["a"].severity, found["a"].share) == (1e9, LOW, 0)


def test_no_claims_and_no_cost_is_a_finding_still():
    assert list(_granted((5, _finding("a")))) == ["a"]


def test_a_window_without_a_price():
    (each,) = grant([(5, _finding("a", "x", window="text"))], {}, {})
    assert (each.cost_ns, each.share, each.severity) == (0, 0, LOW)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.2, CRITICAL), (0.199, HIGH), (0.05, HIGH), (0.049, MEDIUM), (0.01, MEDIUM), (0.0099, LOW), (0, LOW)],
)
def test_severity_by_the_low_end_of_the_saving(share, expected):
    assert severity(share * 1e6, 1e6) == expected
    assert severity(1.0, 0.0) == LOW


@pytest.mark.parametrize(("noise", "noisy", "high"), [(0.01, True, 5.4e6), (0.0001, False, 0.9e6)])
def test_a_cost_below_what_calls_differ_by_is_called_that(noise, noisy, high):
    finding = Finding(rule="a", title="t", window="step", claims=("row0",), saving=Saving(share_low=0.0, share_high=0.9))
    prices = {"step": {"row0": (1e6, 1e6), "row1": (999e6, 999e6)}}
    (each,) = grant([(0, finding)], prices, _durations(prices), noise=noise)
    assert (each.noisy, each.saving_high_ns) == (noisy, pytest.approx(high, rel=0.01))
    words = _price(each)
    assert ("less than calls differ by: saves at most 5.4" in words) is noisy
    assert words.startswith("costs  1.00 ms a step (0.1%), ")


def test_what_has_no_cost_of_its_own_says_so():
    finding = Finding(rule="a", title="t", window="call", saving=Saving(extra_high_ns=2e6))
    (each,) = grant([(0, finding)], {}, {"call": (1e9, 1.0)})
    assert _price(each) == "no cost of its own, saves 0.00 to 2.00 ms a call"

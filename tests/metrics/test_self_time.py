"""Self time: every instant of a thread belongs to exactly one span."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from profiler.metrics.self_time import self_times, with_self_time


def test_children_are_taken_from_their_parent():
    # 0-100 holds 10-30 (which holds 15-20) and 40-70.
    assert self_times([0, 10, 15, 40], [100, 20, 5, 30]) == [50, 15, 5, 30]


def test_the_longer_of_two_that_start_together_is_the_parent():
    assert self_times([0, 0], [10, 4]) == [6, 4]


def test_spans_that_overlap_without_nesting_share_no_instant():
    assert self_times([0, 5, 12], [10, 10, 1]) == [5, 9, 1]


def test_zero_durations_and_gaps_cost_nothing():
    assert self_times([0, 5, 20], [10, 0, 1]) == [10, 0, 1]
    assert self_times([], []) == []


_SPANS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 30)), max_size=25)


def _covered(spans):
    return len({(thread, tick) for thread, start, duration in spans for tick in range(start, start + duration)})


@given(_SPANS)
def test_self_times_sum_to_the_time_covered_in_each_thread(spans):
    frame = pl.DataFrame(
        {"pid": [1] * len(spans), "tid": [s[0] for s in spans], "ts_ns": [s[1] for s in spans], "dur_ns": [s[2] for s in spans]},
        schema={"pid": pl.Int64, "tid": pl.Int64, "ts_ns": pl.Int64, "dur_ns": pl.Int64},
    )
    result = with_self_time(frame)
    assert result.height == len(spans)
    assert result["self_ns"].sum() == _covered(spans)
    assert result.filter((pl.col("self_ns") < 0) | (pl.col("self_ns") > pl.col("dur_ns"))).is_empty()


@given(_SPANS)
def test_a_span_owns_the_instants_in_which_it_started_last(spans):
    """Against the definition, tick by tick."""
    ordered = sorted((s for s in spans if s[0] == 0), key=lambda s: (s[1], -s[2]))
    expected = [0] * len(ordered)
    for tick in range(100):
        inside = [index for index, (_, start, duration) in enumerate(ordered) if start <= tick < start + duration]
        if inside:
            expected[max(inside)] += 1
    assert self_times([s[1] for s in ordered], [s[2] for s in ordered]) == expected

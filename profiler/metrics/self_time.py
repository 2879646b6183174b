"""Self time of nested spans: every instant of a thread belongs to the innermost span that is open in it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def self_times(starts: Sequence[int], durations: Sequence[int]) -> list[int]:
    """Self time of each span of one thread, in the spans' own order.

    Args:
        starts: start of each span, ascending; of two with one start, the outer (longer) one first.
        durations: of each span, >= 0, same unit.

    The innermost span is the one that started last among those still open. Spans which overlap without nesting, as damaged traces
    have them, so share each instant without counting it twice: the self times sum to the union of the spans.
    """
    ends = [start + duration for start, duration in zip(starts, durations, strict=True)]
    own = [0] * len(ends)
    open_spans: list[int] = []
    clock = 0
    for index, start in enumerate(starts):
        clock = _close(open_spans, ends, own, clock, start)
        if open_spans:
            own[open_spans[-1]] += start - clock
        clock = start
        open_spans.append(index)
    if ends:
        _close(open_spans, ends, own, clock, max(ends))
    return own


def _close(open_spans: list[int], ends: list[int], own: list[int], clock: int, now: int) -> int:
    """Close the innermost spans that end by `now`, crediting each with the time since `clock`."""
    while open_spans and ends[open_spans[-1]] <= now:
        span = open_spans.pop()
        if ends[span] > clock:
            own[span] += ends[span] - clock
            clock = ends[span]
    return clock


def with_self_time(spans: pl.DataFrame) -> pl.DataFrame:
    """Spans with a column `self_ns`, nested thread by thread.

    Args:
        spans: columns `pid`, `tid`, `ts_ns`, `dur_ns` and any others.
    """
    if spans.is_empty():
        return spans.with_columns(pl.lit(0, pl.Int64).alias("self_ns"))
    ordered = spans.sort(["pid", "tid", "ts_ns", "dur_ns"], descending=[False, False, False, True], maintain_order=True)
    return pl.concat([_thread(rows) for rows in ordered.partition_by(["pid", "tid"], maintain_order=True)])


def _thread(rows: pl.DataFrame) -> pl.DataFrame:
    own = self_times(rows["ts_ns"].to_list(), rows["dur_ns"].to_list())
    return rows.with_columns(pl.Series("self_ns", own, dtype=pl.Int64))

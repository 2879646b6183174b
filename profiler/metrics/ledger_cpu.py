"""Segments of a trace without a GPU: self time of the main thread's operators is busy, the rest idle."""

from __future__ import annotations

import polars as pl

from profiler.metrics import host_spans as kinds
from profiler.metrics.host_states import States, Walk
from profiler.metrics.idle import NO_WAITS, frame
from profiler.metrics.ledger_segments import Cut, of_states
from profiler.rundir import layout
from profiler.tables.trace import TraceTables


def cut(trace: TraceTables, _events: pl.DataFrame, windows: pl.DataFrame, _stretch: float) -> Cut:
    """Segments that cover every window without a gap; a CPU is never waited for."""
    start, end = windows["start_ns"].min(), windows["end_ns"].max()
    wanted = [(start, end)] if isinstance(start, int) and isinstance(end, int) and end > start else []
    states = States(cpu=True)
    walk = Walk(states, wanted)
    walk.run(_spans(trace).iter_rows())
    no_waits = pl.DataFrame(schema=NO_WAITS)
    return of_states(frame(walk.pieces), states.all, no_waits)


def _spans(trace: TraceTables) -> pl.DataFrame:
    """Of the main thread: the one with the marks, else the one with most operators."""
    spans = kinds.host_spans(trace, types=True)
    marked = spans.filter(pl.col("name").str.starts_with(layout.MARK_PREFIX)).select("tid").collect()
    candidates = marked if marked.height else spans.filter(pl.col("kind") != kinds.OVERHEAD).select("tid").collect()
    tid = candidates["tid"].mode().min()
    mine = pl.col("tid").eq_missing(tid)
    own = spans.filter(mine | (pl.col("kind") == kinds.OVERHEAD)).collect()
    every = kinds.noted(pl.concat([own, kinds.resume_spans(trace).filter(mine).collect()]))
    return every.select("kind", "name", "start_ns", "end_ns", "note", "types")

"""What recording costs: each event that a profiler writes takes host time that the untraced call does not have."""

from __future__ import annotations

from functools import cached_property

import polars as pl

from profiler.metrics.host_states import PROFILER_OVERHEAD
from profiler.metrics.idle import LATENCY, QUEUED, REPLAY
from profiler.metrics.ledger_segments import BUSY, WAITING_FOR_RANK, Cut, in_windows
from profiler.tables.trace import TraceTables

# No event costs more than this to record: what a trace has beyond it is another cause, and is taken from all idle time alike.
MOST_NS = 10_000.0
# Idle time in which the host does nothing that counts: the GPU itself takes it, or another rank.
_OF_THE_GPU = (LATENCY, QUEUED, REPLAY, WAITING_FOR_RANK)
_TABLES = ("host", "runtime", "python")
_HALVINGS = 40


class Marks:
    """Where events of the host begin and end, in ns, each sorted: at both the profiler does its work.

    Read when first asked for: a trace without an untraced time needs none.
    """

    def __init__(self, trace: TraceTables) -> None:
        self._trace = trace

    @cached_property
    def _points(self) -> tuple[pl.Series, pl.Series]:
        ends = (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns")
        every = pl.concat([self._trace.lazy(name).select("ts_ns", ends) for name in _TABLES]).collect()
        return every["ts_ns"].sort(), every["end_ns"].sort()

    def within(self, segments: pl.DataFrame, labels: pl.DataFrame) -> pl.Series:
        """How many of them lie in each segment, its edges included: a pause between two operators has one at each edge.

        Args:
            segments, labels: of `ledger_segments.Cut`; a segment that no host holds up has none.
        """
        starts, ends = self._points
        counts = self._count(starts, segments) + self._count(ends, segments)
        own = labels.filter(pl.col("label").is_in(_OF_THE_GPU))["number"].implode()
        held = segments.select((~pl.col("number").is_in(own)).cast(pl.Int64).alias("held"))["held"]
        return counts * held

    def stands(self, segments: pl.DataFrame) -> pl.Series:
        """Whether each idle segment stands like busy time; of one rank alone none does."""
        return pl.repeat(False, segments.height, eager=True)

    @staticmethod
    def _count(points: pl.Series, segments: pl.DataFrame) -> pl.Series:
        until = points.search_sorted(segments["end_ns"], side="right").cast(pl.Int64)
        return until - points.search_sorted(segments["start_ns"], side="left").cast(pl.Int64)


def idle_of(cut: Cut, marks: Marks, windows: pl.DataFrame) -> pl.DataFrame:
    """Idle segments in the windows, the profiler's own overhead apart: length_ns, marks, stands (of `Marks.stands`)."""
    segments = in_windows(cut.segments, windows).join(cut.labels.select("number", "kind", "label"), on="number")
    idle = segments.filter((pl.col("kind") != BUSY) & (pl.col("label") != PROFILER_OVERHEAD))
    length, stands = (pl.col("end_ns") - pl.col("start_ns")).alias("length_ns"), marks.stands(idle).alias("stands")
    return idle.select(length, marks.within(idle, cut.labels).alias("marks"), stands)


def cost_of_a_mark(idle: pl.DataFrame, left_ns: int) -> float:
    """What each mark must cost, in ns, for the idle time to come down to `left_ns`; at most MOST_NS.

    Args:
        idle: of `idle_of`.
    """
    low, high = 0.0, MOST_NS
    if kept_ns(idle, high) > left_ns:
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if kept_ns(idle, middle) > left_ns else (low, middle)
    return high


def kept_ns(idle: pl.DataFrame, mark_ns: float) -> float:
    """Idle time that is left where each mark takes so much away; no segment gets shorter than nothing."""
    return float(idle.select((pl.col("length_ns") - mark_ns * pl.col("marks")).clip(lower_bound=0).sum()).item() or 0.0)

"""A trace with a GPU: busy events by class and kernel, idle time by cause."""

from __future__ import annotations

import polars as pl

from profiler.metrics.classes import classify_gpu
from profiler.metrics.idle import idle_time
from profiler.metrics.ledger_segments import BUSY, LABEL, SEGMENT, Cut, joined, of_states
from profiler.tables.trace import TraceTables


def cut(trace: TraceTables, events: pl.DataFrame, windows: pl.DataFrame, stretch: float) -> Cut:
    """Segments that cover every window without a gap, and the host waits; `stretch`: see `idle_waits.charge`."""
    start, end = windows["start_ns"].min(), windows["end_ns"].max()
    assert isinstance(start, int) and isinstance(end, int)
    idle = idle_time(trace, events, start, end, stretch)
    return joined(_busy(events), of_states(idle.pieces, idle.states, idle.waits))


def _busy(events: pl.DataFrame) -> Cut:
    """What each of `device_events` owns; of no length where it ran wholly beside another."""
    names = events.select("name", "cat").unique(maintain_order=True).with_row_index("number")
    rows = [(number, BUSY, classify_gpu(name, cat), name, "") for number, name, cat in names.iter_rows()]
    numbered = events.select("name", "cat", "own_ns", "start_ns", "end_ns", "launch_ns").join(
        names, on=["name", "cat"], maintain_order="left"
    )
    start = pl.coalesce(pl.min_horizontal("own_ns", "end_ns"), "start_ns").alias("start_ns")
    segments = numbered.select(start, "end_ns", "number", pl.col("launch_ns").alias("host_ns"))
    return Cut(
        segments.select(pl.col(each).cast(kind) for each, kind in SEGMENT.items()),
        pl.DataFrame(rows, schema=LABEL, orient="row"),
        pl.DataFrame(),
    )

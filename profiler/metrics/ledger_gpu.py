"""Segments of a trace with a GPU: busy events by class and kernel, idle time by cause."""

from __future__ import annotations

import polars as pl

from profiler.metrics.classes import classify_gpu
from profiler.metrics.idle import idle_time
from profiler.metrics.ledger_segments import SEGMENT, of_states
from profiler.tables.trace import TraceTables


def cut(trace: TraceTables, events: pl.DataFrame, windows: pl.DataFrame, stretch: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Segments that cover every window without a gap, and the host waits; `stretch`: see `idle_waits.charge`."""
    start, end = windows["start_ns"].min(), windows["end_ns"].max()
    assert isinstance(start, int) and isinstance(end, int)
    idle = idle_time(trace, events, start, end, stretch)
    return pl.concat([busy(events), of_states(idle.pieces, idle.states, "gpu")]), idle.waits


def busy(events: pl.DataFrame) -> pl.DataFrame:
    """What each of `device_events` owns; of no length where it ran wholly beside another."""
    names = events.select("name", "cat").unique()
    labels = [classify_gpu(name, cat) for name, cat in names.iter_rows()]
    joined = events.join(
        names.with_columns(pl.Series("label", labels, dtype=pl.String)), on=["name", "cat"], maintain_order="left"
    )
    return joined.select(
        pl.coalesce(pl.min_horizontal("own_ns", "end_ns"), "start_ns").alias("start_ns"),
        "end_ns",
        pl.lit("busy").alias("kind"),
        "label",
        pl.col("name").alias("detail"),
        pl.lit("").alias("region"),
        pl.col("launch_ns").alias("host_ns"),
        pl.lit("gpu").alias("source"),
    ).select(pl.col(name).cast(kind) for name, kind in SEGMENT.items())

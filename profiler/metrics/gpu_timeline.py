"""The device's time line: which event owns each busy instant, and every gap with the launch that ended it.

Overlapping events of several streams share no instant: it belongs to the one that started first, and of two that started together
to the kernel before the copy before the memset, then to the longer one. So busy time is the union of all streams, exactly.
"""

from __future__ import annotations

import polars as pl

from profiler.tables import schema
from profiler.tables.trace import TraceTables

# How a gap ended: see `gaps`.
REPLAY, NO_LAUNCH, QUEUED, HELD = "replay", "no launch", "queued", "held"

_PRECEDENCE = pl.col("cat").replace_strict({schema.KERNEL: 0, schema.MEMCPY: 1, schema.MEMSET: 2}, return_dtype=pl.Int8)


def launches(trace: TraceTables) -> pl.DataFrame:
    """One row a correlation: `correlation`, `launch_tid`, `launch_ns`, `returned_ns`."""
    calls = trace.lazy("runtime").filter(pl.col("correlation") > 0)
    return (
        calls.select(
            "correlation",
            pl.col("tid").alias("launch_tid"),
            pl.col("ts_ns").alias("launch_ns"),
            (pl.col("ts_ns") + pl.col("dur_ns")).alias("returned_ns"),
        )
        .unique("correlation", keep="first", maintain_order=True)
        .collect()
    )


def device_events(trace: TraceTables) -> pl.DataFrame:
    """Busy GPU events in the order in which they own time.

    Columns: name, cat, correlation, start_ns, end_ns, `before_ns` (when everything that started earlier had ended; null for the
    first), `own_ns` (start of the part that is its own, which ends at end_ns; >= end_ns where it owns nothing), `repeated` (an
    earlier event has its correlation: one CUDA graph launched both), and those of `launches` (null where the trace holds none).
    """
    busy = trace.lazy("gpu").filter(pl.col("cat").is_in(schema.GPU_BUSY))
    columns = busy.select(
        "name",
        "cat",
        "tid",
        "correlation",
        pl.col("ts_ns").alias("start_ns"),
        (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns"),
    ).collect()
    ordered = columns.with_columns(_PRECEDENCE.alias("precedence")).sort(
        ["start_ns", "precedence", "end_ns", "tid"], descending=[False, False, True, False], maintain_order=True
    )
    frontier = pl.col("end_ns").cum_max().shift(1)
    owned = ordered.drop("precedence", "tid").with_columns(
        frontier.alias("before_ns"),
        pl.max_horizontal("start_ns", frontier).alias("own_ns"),
        ((pl.col("correlation") > 0) & ~pl.col("correlation").is_first_distinct()).fill_null(False).alias("repeated"),
    )
    return owned.join(launches(trace), on="correlation", how="left", maintain_order="left")


def gaps(events: pl.DataFrame) -> pl.DataFrame:
    """Every stretch in which nothing ran, between two of `device_events`.

    Columns: start_ns, end_ns, `ended` (REPLAY: the next event and an earlier one are of one graph launch; NO_LAUNCH: the trace
    does not hold its launch; QUEUED: its launch had returned when the gap opened; HELD: the host had still to launch it),
    `held_ns` (when the launch returned, within the gap), launch_tid, launch_ns, `ahead_ns` (start of the last launch that had
    returned before the device needed it, among those of earlier events).
    """
    ahead = pl.when(pl.col("returned_ns") <= pl.col("before_ns")).then(pl.col("launch_ns"))
    ended = (
        pl.when("repeated")
        .then(pl.lit(REPLAY))
        .when(pl.col("returned_ns").is_null())
        .then(pl.lit(NO_LAUNCH))
        .when(pl.col("returned_ns") <= pl.col("before_ns"))
        .then(pl.lit(QUEUED))
        .otherwise(pl.lit(HELD))
    )
    marked = events.with_columns(ahead.cum_max().forward_fill().shift(1).alias("ahead_ns"), ended.alias("ended"))
    return marked.filter(pl.col("start_ns") > pl.col("before_ns")).select(
        pl.col("before_ns").alias("start_ns"),
        pl.col("start_ns").alias("end_ns"),
        "ended",
        pl.min_horizontal("returned_ns", "start_ns").alias("held_ns"),
        "launch_tid",
        "launch_ns",
        "ahead_ns",
    )

"""A memory timeline as columns of a figure, each as high as the highest moment in it."""

from __future__ import annotations

import polars as pl

from profiler.metrics.memory import MemoryTimeline

# Columns of a timeline, each as high as the highest moment in it, so that no peak is lost.
COLUMNS = 520


def moments(over_time: MemoryTimeline) -> tuple[pl.DataFrame, list[str]]:
    """Every moment (the labels' bytes, `live`, `slot`: the column of the figure that it lies in), and the labels."""
    start = over_time.total["time_us"].min()
    wide = over_time.wide().with_columns(pl.col("time_us").fill_null(start), over_time.total["live_bytes"].alias("live"))
    since = pl.col("time_us") - pl.col("time_us").min()
    return wide.with_columns((since * COLUMNS // (since.max() + 1)).alias("slot")), over_time.labels


def highest(wide: pl.DataFrame) -> list[int]:
    """The highest moment of each column, by its row: what the column before left behind counts too."""
    ends = (
        wide.with_row_index("row")
        .group_by("slot")
        .agg(pl.col("row").get(pl.col("live").arg_max()), pl.col("row").last().alias("last"))
    )
    known, live = {slot: (row, last) for slot, row, last in ends.iter_rows()}, wide["live"].to_list()
    found, left = [], 0
    for slot in range(COLUMNS):
        most, last = known.get(slot, (left, left))
        found.append(max(left, most, key=lambda row: live[row]))
        left = last
    return found

"""Ledger rows whose work is all launched inside certain operators."""

from __future__ import annotations

import polars as pl

from profiler.rules.context import Context, Row


def operators(context: Context, names: tuple[str, ...]) -> pl.DataFrame:
    """Host spans of some operators: ts_ns, end_ns, input_dims, in order of start."""
    host = context.run.trace(context.rank).lazy("host").filter(pl.col("name").is_in(names))
    return host.select("ts_ns", (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns"), "input_dims").collect().sort("ts_ns")


def rows_inside(context: Context, window: str, spans: pl.DataFrame) -> list[Row]:
    """Busy rows of a window of which every kernel was launched inside one of the spans (which may nest)."""
    if spans.is_empty():
        return []
    reach = spans.select("ts_ns", pl.col("end_ns").cum_max())
    segments = context.ledger(window).segments.filter(pl.col("id").str.starts_with("busy/"))
    launched = segments.filter(pl.col("host_ns").is_not_null()).sort("host_ns")
    covered = launched.join_asof(reach, left_on="host_ns", right_on="ts_ns", strategy="backward")
    inside = covered.with_columns((pl.col("host_ns") < pl.col("end_ns_right")).fill_null(False).alias("inside"))
    every = inside.group_by("id").agg(pl.col("inside").all())
    unlaunched = set(segments.filter(pl.col("host_ns").is_null())["id"].to_list())
    wanted = set(every.filter("inside")["id"].to_list()) - unlaunched
    return context.select(window, lambda row: row.id in wanted)

"""Live bytes over events, from intervals: exact sums, no sampling."""

from __future__ import annotations

import polars as pl

from profiler.metrics.memory.intervals import BEFORE_RECORDING

CHANGE = {"index": pl.Int64, "delta_bytes": pl.Int64}


def changes(rows: pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """What each event adds and takes: index, delta_bytes (and `label`, the value of column `by`), in order of index.

    Index -1 stands for what lived before the recording.
    """
    label = [] if by is None else [pl.col(by).alias("label")]
    gained = rows.select(pl.col("start_index").alias("index"), *label, pl.col("size_bytes").alias("delta_bytes"))
    ended = rows.filter(pl.col("end_index").is_not_null())
    lost = ended.select(pl.col("end_index").alias("index"), *label, (-pl.col("size_bytes")).alias("delta_bytes"))
    both = pl.concat([gained, lost]).sort("index")
    # Nearly every event changes one allocation: only what lived before, and the few others, need to be summed.
    alone = ~((pl.col("index") == pl.col("index").shift(1)) | (pl.col("index") == pl.col("index").shift(-1))).fill_null(False)
    keys = ["index"] if by is None else ["index", "label"]
    summed = both.filter(~alone).group_by(keys).agg(pl.col("delta_bytes").sum()).sort(keys)
    return both.filter(alone).select(*keys, "delta_bytes").merge_sorted(summed, key="index")


def live_total(rows: pl.DataFrame) -> pl.DataFrame:
    """Live bytes after every event that changes them: index, live_bytes. The first row is index -1, before the first event."""
    summed = changes(rows)
    if summed["index"].first() != BEFORE_RECORDING:
        summed = pl.concat([pl.DataFrame({"index": [BEFORE_RECORDING], "delta_bytes": [0]}, schema=CHANGE), summed])
    return summed.select("index", pl.col("delta_bytes").cum_sum().alias("live_bytes"))


def live_by(rows: pl.DataFrame, by: str) -> pl.DataFrame:
    """The same for each value of a column: index, label, live_bytes, a row where that label's bytes change."""
    summed = changes(rows, by).with_columns(pl.col("delta_bytes").cum_sum().over("label").alias("live_bytes"))
    return summed.select("index", "label", "live_bytes")


def alive_at(rows: pl.DataFrame, index: int) -> pl.DataFrame:
    """The allocations that live right after an event."""
    after = pl.col("end_index").is_null() | (pl.col("end_index") > index)
    return rows.filter((pl.col("start_index") <= index) & after)


def peak_of(total: pl.DataFrame) -> tuple[int, int]:
    """(index, live_bytes) of the first highest row of `live_total`."""
    index, live = total.row(total["live_bytes"].arg_max() or 0)
    return int(index), int(live)

"""By how much the peak would fall without something: until another moment is the highest."""

from __future__ import annotations

import polars as pl

from profiler.metrics.memory.live import live_total

_SHOWN = (
    "size_bytes",
    "category",
    "component",
    "role",
    "dtype",
    "module",
    "name",
    "window",
    "region",
    "place",
    "start_us",
    "id",
    "stack",
)
_GROUP = ("category", "component", "role", "module", "place")


def with_relief(rows: pl.DataFrame, live: pl.DataFrame, total: pl.DataFrame, top: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The `top` biggest of what lives at the peak, and the `top` biggest groups of it, each with `relief_bytes`.

    A group's relief is without every allocation of the group, whenever it lived.

    Args:
        rows: `allocations`.
        live: those that live at the peak.
        total: `live.live_total` of the rows.
    """
    largest = biggest(live, top)
    each = [relief(total, live.filter(pl.col("id") == id)) for id in largest["id"]]
    single = largest.insert_column(1, pl.Series("relief_bytes", each, dtype=pl.Int64))
    return single, _groups(rows, live, total, top)


def biggest(live: pl.DataFrame, top: int) -> pl.DataFrame:
    """The biggest of some allocations, in the columns that people look at."""
    return live.sort("size_bytes", "id", descending=[True, False]).head(top).select(_SHOWN)


def _groups(rows: pl.DataFrame, live: pl.DataFrame, total: pl.DataFrame, top: int) -> pl.DataFrame:
    counted = live.group_by(_GROUP).agg(pl.col("size_bytes").sum(), pl.len().cast(pl.Int64).alias("count"))
    largest = counted.sort("size_bytes", *_GROUP, descending=[True, *(False for _ in _GROUP)]).head(top)
    members = rows.join(largest.with_row_index("group").select(*_GROUP, "group"), on=_GROUP)
    parts = {key: part for (key,), part in members.group_by("group")}
    found = [relief(total, parts[number]) for number in range(largest.height)]
    return largest.with_columns(pl.Series("relief_bytes", found, dtype=pl.Int64))


def relief(total: pl.DataFrame, without: pl.DataFrame) -> int:
    """By how much the highest of `total` falls without some allocations."""
    gone = live_total(without).rename({"live_bytes": "gone_bytes"})
    left = total.join_asof(gone, on="index").select((pl.col("live_bytes") - pl.col("gone_bytes")).max())
    return int(total["live_bytes"].max() or 0) - int(left.item())  # type: ignore[arg-type]

"""Fragmentation: what the allocator holds of the device over time beside what is live, and in which pieces the rest lies."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards.charts.style import MUTED, figure
from profiler.core import palette
from profiler.core.units import GIB, MIB, unit_of
from profiler.metrics.memory import MemoryTimeline

_POINTS = 1400


def reserved(timeline: MemoryTimeline) -> go.Figure:
    """Reserved and live bytes over ms since the first event; empty where nobody says what is reserved (a CPU run)."""
    rows = timeline.total.select("time_us", "live_bytes", "reserved_bytes").drop_nulls()
    made = figure(260, hovermode="x unified")
    if rows.is_empty():
        return made
    kept = _thinned(rows)
    unit, size = unit_of(float(kept["reserved_bytes"].max()))  # type: ignore[arg-type]
    times = ((kept["time_us"] - kept["time_us"][0]) / 1e3).to_list()
    for name, column, colour, fill in (
        ("live", "live_bytes", palette.ACCENT, "tozeroy"),
        ("reserved", "reserved_bytes", MUTED, "tonexty"),
    ):
        line = {"width": 1.5, "color": colour, "shape": "hv"}
        made.add_trace(
            go.Scatter(
                x=times,
                y=(kept[column] / size).to_list(),
                name=name,
                mode="lines",
                line=line,
                fill=fill,
                hovertemplate=f"%{{y:,.3f}} {unit}",
            )
        )
    made.update_xaxes(title="ms since the first event")
    made.update_yaxes(title=f"{unit}; grey: reserved, not live", rangemode="tozero")
    return made


def _thinned(rows: pl.DataFrame) -> pl.DataFrame:
    """At most about `_POINTS` rows; of each stretch the one with the most live bytes."""
    if rows.height <= _POINTS:
        return rows
    stretch = (pl.int_range(pl.len()) * _POINTS // pl.len()).alias("stretch")
    highest = pl.all().get(pl.col("live_bytes").arg_max())
    return rows.with_columns(stretch).group_by("stretch", maintain_order=True).agg(highest).drop("stretch")


def by_size(pieces: pl.Series) -> pl.DataFrame:
    """Free pieces by size, each bin four times as large as the one before: from_bytes, count, size_bytes."""
    # Logarithms of powers of four may fall short by their last bit.
    power = (pl.col("piece").log(4) + 1e-9).floor().cast(pl.Int64)
    rows = pieces.rename("piece").to_frame().filter(pl.col("piece") > 0)
    summed = rows.group_by((pl.lit(4, pl.Int64).pow(power)).cast(pl.Int64).alias("from_bytes"))
    return summed.agg(pl.len().alias("count"), pl.col("piece").sum().alias("size_bytes")).sort("from_bytes")


def pieces(found: pl.Series) -> go.Figure:
    """Free bytes by the size of the piece that they lie in: what lies in small ones fits no large tensor."""
    rows = by_size(found)
    made = figure(260)
    if rows.is_empty():
        return made
    unit, size = ("GiB", GIB) if int(rows["size_bytes"].sum()) >= GIB / 10 else ("MiB", MIB)
    made.add_trace(
        go.Bar(
            x=[_range(each) for each in rows["from_bytes"]],
            y=(rows["size_bytes"] / size).to_list(),
            text=[f"{count:,}" for count in rows["count"]],
            textposition="outside",
            cliponaxis=False,
            marker={"color": MUTED},
            customdata=rows["count"].to_list(),
            hovertemplate=f"pieces of %{{x}}<br>%{{customdata:,}} pieces, %{{y:,.3f}} {unit}<extra></extra>",
        )
    )
    made.update_xaxes(title="size of a free piece, from; the number is how many there are", type="category")
    made.update_yaxes(title=f"{unit} free", rangemode="tozero")
    made.update_layout(margin={"t": 22})
    return made


def _range(size_bytes: int) -> str:
    """A bin by its lower end: `4 MiB` holds pieces of 4 to 16 MiB."""
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", 1 << 10)):
        if size_bytes >= size:
            return f"{size_bytes // size} {unit}"
    return f"{size_bytes} B"

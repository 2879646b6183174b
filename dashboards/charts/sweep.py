"""Sweeps: how far they are, their cells by time and memory with the Pareto front and SQNR, and the seed beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
import polars as pl

from dashboards.charts.sides import Point, sides
from dashboards.charts.style import MUTED, figure, label
from profiler.core import palette
from profiler.core.units import GIB, MIB
from profiler.metrics.sweep_front import Group, front
from profiler.report.sweep_words import EXTRAPOLATED

STATUSES = {
    "ok": palette.FASTER,
    "running": palette.ACCENT,
    "oom": palette.SEVERITIES["critical"],
    "failed": palette.SEVERITIES["high"],
    "timeout": palette.SEVERITIES["medium"],
    "refused": palette.SEVERITIES["low"],
    "interrupted": "#CC79A7",
    "queued": "#B3BCC4",
}
"""One colour a status of a cell, in the order in which they are listed."""
MEMORY_NAMES = {"inference_peak_gib": "inference peak", "model_memory_gib": "model memory"}
# Smaller sizes are told in MiB.
_LEAST_GIB = 0.1
_NAME_MOST = 36
# What the points have of the figure in a window of usual width, in pixels; radii of a point on the front and of others.
_WIDE, _HIGH, _LARGE, _SMALL = 1000.0, 310.0, 9.0, 5.0


def statuses(counts: Mapping[str, int]) -> go.Figure:
    """One bar as long as the sweep has cells, by status; its legend is for the page to list."""
    made = figure(64, barmode="stack", showlegend=False, bargap=0.05)
    for name in (each for each in STATUSES if counts.get(each)):
        made.add_trace(
            go.Bar(
                x=[counts[name]],
                y=[""],
                orientation="h",
                name=name,
                marker={"color": STATUSES[name], "line": {"width": 0.5, "color": "#FFFFFF"}},
                text=[str(counts[name])],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                hovertemplate=f"{counts[name]} {name}<extra></extra>",
            )
        )
    made.update_xaxes(visible=False, range=[0, sum(counts.values()) or 1])
    made.update_yaxes(visible=False)
    return made


def scatter(cells: pl.DataFrame, group: Group) -> go.Figure:
    """Seconds a call against memory, for the cells of a group: coloured by SQNR, large where on the Pareto front.

    The dotted line joins cells that no other beats in time and memory alone.
    """
    made = figure(430, hovermode="closest")
    rows = placed(cells, group)
    if not rows:
        return made
    made.add_trace(_line(rows))
    times, sizes = _room([row["time_s"] for row in rows], 0.2, 0.1), _room([row["size"] for row in rows], 0.1, 0.16)
    named = _named(rows, times, sizes)
    levels = [row for row in rows if finite(row["sqnr_db"])]
    others = [row for row in rows if not finite(row["sqnr_db"])]
    if others:
        plain = "bf16, which SQNR is against" if group.quality else "cells"
        made.add_trace(_points(others, plain, named, {"color": palette.TOTAL, "symbol": "diamond"}))
    if levels:
        made.add_trace(_points(levels, "", named, _by_level(levels)))
    made.update_xaxes(title="time of a call, s", range=times)
    made.update_yaxes(title=f"{MEMORY_NAMES[group.memory]}, {rows[0]['unit']}", range=sizes)
    return made


def placed(cells: pl.DataFrame, group: Group) -> list[dict[str, Any]]:
    """The cells of a group that have a place in the figure, those on the front first; with their `size` in a `unit`."""
    if not group.memory:
        return []
    kept = cells.filter(pl.col("id").is_in(group.ids) & pl.col(group.memory).is_not_null() & pl.col("time_s").is_not_null())
    factor, unit = (1.0, "GiB") if (kept[group.memory].max() or 0) >= _LEAST_GIB else (GIB / MIB, "MiB")  # type: ignore[operator]
    sized = kept.with_columns((pl.col(group.memory) * factor).alias("size"), pl.lit(unit).alias("unit"))
    return sized.sort("pareto", "time_s", descending=[True, False]).to_dicts()


def finite(level: float | None) -> bool:
    """Whether an SQNR is a number of dB: the base's is not, nor one that is not known."""
    return level is not None and math.isfinite(level)


def _by_level(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    title = {"text": "SQNR, dB", "side": "right", "font": {"size": 13}}
    bar = {"title": title, "thickness": 12, "outlinewidth": 0, "tickfont": {"size": 12}, "nticks": 6}
    return {"color": [row["sqnr_db"] for row in rows], "colorscale": "Viridis", "colorbar": bar, "symbol": "circle"}


def _points(rows: Sequence[dict[str, Any]], name: str, named: dict[str, str], marker: dict[str, Any]) -> go.Scatter:
    doubt = [row["error_s"] or 0.0 for row in rows]
    return go.Scatter(
        x=[row["time_s"] for row in rows],
        y=[row["size"] for row in rows],
        mode="markers+text",
        name=name,
        showlegend=bool(name),
        text=[label(row["id"], _NAME_MOST) if row["id"] in named else "" for row in rows],
        textposition=[named.get(row["id"], "top center") for row in rows],
        customdata=[[row["id"]] for row in rows],
        hovertext=[_told(row) for row in rows],
        hovertemplate="%{hovertext}<extra></extra>",
        error_x={"array": doubt, "thickness": 1, "color": MUTED} if any(doubt) else None,
        marker=marker
        | {
            "size": [2 * (_LARGE if row["pareto"] else _SMALL) for row in rows],
            "opacity": [1.0 if row["pareto"] else 0.7 for row in rows],
            "line": {"width": [2 if row["pareto"] else 1 for row in rows], "color": "#FFFFFF"},
        },
    )


def _told(row: dict[str, Any]) -> str:
    lines = [
        f"<b>{label(row['id'], 80)}</b>",
        f"{row['time_s']:.3f} s a call" + (", extrapolated" if row["extrapolated"] else ""),
    ]
    lines += [f"{row['size']:,.2f} {row['unit']}"]
    lines += [f"SQNR {row['sqnr_db']:.1f} dB"] if finite(row["sqnr_db"]) else []
    return "<br>".join(lines + (["on the Pareto front"] if row["pareto"] else []))


def _line(rows: Sequence[dict[str, Any]]) -> go.Scatter:
    best = _best(rows)
    return go.Scatter(
        x=[time for time, _ in best],
        y=[size for _, size in best],
        mode="lines",
        name="no cell is both faster and smaller",
        line={"color": MUTED, "width": 1.5, "dash": "dot", "shape": "hv"},
        hoverinfo="skip",
    )


def _best(rows: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    points = [(row["time_s"], row["size"]) for row in rows]
    return sorted({points[index] for index in front(points)})


def _room(values: Sequence[float], before: float, after: float) -> list[float]:
    """A range around values with room for points and names."""
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    return [low - before * span, high + after * span]


def _named(rows: Sequence[dict[str, Any]], times: Sequence[float], sizes: Sequence[float]) -> dict[str, str]:
    """Cells whose names cover no point, no other name and not the line, and on which side of its point each stands."""

    def at(time: float, size: float) -> tuple[float, float]:
        return (time - times[0]) / (times[1] - times[0]) * _WIDE, (size - sizes[0]) / (sizes[1] - sizes[0]) * _HIGH

    points = [
        Point(*at(row["time_s"], row["size"]), _LARGE if row["pareto"] else _SMALL, label(row["id"], _NAME_MOST)) for row in rows
    ]
    best = [at(*each) for each in _best(rows)]
    steps = [box for (x, y), (right, low) in pairwise(best) for box in ((x, right, y - 1, y + 1), (right - 1, right + 1, low, y))]
    return {row["id"]: side for row, side in zip(rows, sides(points, _WIDE, _HIGH, steps), strict=True) if side}


def beside_seed(rows: pl.DataFrame) -> go.Figure:
    """Times of cells and of the seed's rows of the same options, a pair of bars a cell, fastest on top.

    Args:
        rows: as `SeedComparison` has them.
    """
    kept = rows.drop_nulls(["time_s", "seed_time_s"]).sort("time_s", descending=True)
    made = figure(100 + 40 * kept.height, barmode="group")
    if kept.is_empty():
        return made
    names = [label(name, _NAME_MOST) for name in kept["id"]]
    shown_of = zip(kept["time_s"], kept["time_ratio"], kept["extrapolated"], strict=True)
    texts = [f"{EXTRAPOLATED if guess else ''}{ours:,.2f} s · {ratio:.2f} of the seed's" for ours, ratio, guess in shown_of]
    pairs = (
        ("seed", "seed_time_s", MUTED, [f"{each:,.2f} s" for each in kept["seed_time_s"]]),
        ("ours", "time_s", palette.ACCENT, texts),
    )
    for name, column, colour, shown in pairs:
        made.add_trace(
            go.Bar(
                y=names,
                x=kept[column].to_list(),
                orientation="h",
                name=name,
                marker={"color": colour},
                text=[f"  {text}" for text in shown],
                textposition="outside",
                cliponaxis=False,
                hovertemplate=f"<b>%{{y}}</b><br>{name}: %{{x:,.3f}} s<extra></extra>",
            )
        )
    longest = max(*kept["time_s"], *kept["seed_time_s"])
    made.update_yaxes(showgrid=False)
    made.update_xaxes(title="time of a call, s", range=[0, 1.25 * longest])
    made.update_layout(legend_traceorder="reversed")
    return made

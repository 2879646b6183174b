"""Memory: live bytes over time, peaks of the phases, what the peak is made of."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go
import polars as pl

from dashboards.charts import boxes
from dashboards.charts.style import MUTED, figure, label
from profiler.core import palette
from profiler.core.units import format_size, unit_of
from profiler.metrics.memory import MemoryPeak, MemorySummary, MemoryTimeline

# Labels drawn one by one; the others are together.
_SHOWN = 9
_POINTS = 1400
_REST = "all others"
COLOURS: dict[str, Callable[[str], str]] = {
    "category": palette.of_category,
    "component": palette.of_component,
    "role": palette.spare,
    "module": palette.spare,
}


def shown(timeline: MemoryTimeline) -> list[str]:
    """The labels that are drawn, in their order from the bottom; `all others` last where there are more."""
    return [*timeline.labels[:_SHOWN], *([_REST] if len(timeline.labels) > _SHOWN else [])]


def stacked(timeline: MemoryTimeline, peak: MemoryPeak | None = None, only_changes: bool = False) -> go.Figure:
    """Live requested bytes stacked by label over ms since the first event, the windows of the call as bands, the peak marked.

    Args:
        only_changes: leave out of each label what lives throughout.
    """
    rows = _thinned(timeline)
    made = figure(400, hovermode="x unified", showlegend=False)
    if rows.is_empty():
        return made
    names = shown(timeline)
    constant: dict[str, int] = {name: min(rows[name].to_list()) if only_changes else 0 for name in names}
    highest = max(max(timeline.total["live_bytes"].to_list()) - sum(constant.values()), 1)
    unit, size = unit_of(highest)
    start = rows["time_us"][0]
    times = ((rows["time_us"] - start) / 1e3).to_list()
    for name in names:
        values = ((rows[name] - constant[name]) / size).to_list()
        made.add_trace(_area(name, times, values, COLOURS[timeline.by](name), unit))
    _bands(made, timeline.windows, start, times[-1])
    if peak is not None and peak.time_us is not None:
        height = (peak.requested_bytes - sum(constant.values())) / size
        _mark(made, (peak.time_us - start) / 1e3, height, f"peak {format_size(peak.requested_bytes)}")
    made.update_xaxes(title="ms since the first event", range=[0, times[-1] or 1])
    made.update_yaxes(
        title=f"{'more than always' if only_changes else 'live'}, {unit} as requested", range=[0, highest / size * 1.14]
    )
    return made


def _thinned(timeline: MemoryTimeline) -> pl.DataFrame:
    rows = timeline.thinned(_POINTS)
    rest = timeline.labels[_SHOWN:]
    return rows.with_columns(pl.sum_horizontal(rest).alias(_REST)).drop(rest) if rest else rows


def _area(name: str, times: list[float], values: list[float], colour: str, unit: str) -> go.Scatter:
    return go.Scatter(
        x=times,
        y=values,
        name=label(name),
        mode="lines",
        stackgroup="live",
        line={"width": 0.5, "color": colour, "shape": "hv"},
        fillcolor=colour,
        hovertemplate=f"%{{y:,.3f}} {unit}",
    )


def _bands(made: go.Figure, windows: pl.DataFrame, start: int, last: float) -> None:
    """A band a window, every other one tinted; a name where there is room for it."""
    inner = windows.filter(pl.col("name") != "call").sort("start_us")
    for number, (name, begin, end) in enumerate(inner.select("label", "start_us", "end_us").iter_rows()):
        left, right = max(0.0, (begin - start) / 1e3), min(last, (end - start) / 1e3)
        if right <= left:
            continue
        wide = (right - left) / last > 0.04 if last else False
        made.add_vrect(
            x0=left,
            x1=right,
            line_width=0,
            fillcolor=MUTED,
            opacity=0.13 if number % 2 else 0.07,
            layer="below",
            annotation_text=name if wide else "",
            annotation_position="top left",
            annotation_font_size=11,
        )


def _mark(made: go.Figure, time: float, value: float, text: str) -> None:
    made.add_trace(
        go.Scatter(
            x=[time],
            y=[value],
            mode="markers+text",
            text=[text],
            textposition="top left" if time else "top right",
            marker={"symbol": "triangle-down", "size": 10, "color": palette.SEVERITIES["critical"]},
            name="peak",
            hoverinfo="skip",
        )
    )


def phases(summary: MemorySummary) -> go.Figure:
    """What each phase held at its end and at its peak, as the allocator counts; empty for a CPU run."""
    rows = [each for each in summary.phases if each.peak_bytes is not None]
    unit, size = unit_of(max((each.peak_bytes or 0 for each in rows), default=0))
    made = figure(110 + 30 * len(rows), barmode="overlay", hovermode="closest")
    if not rows:
        return made
    names = [label(each.name) for each in rows]
    for name, values, colour, width in (
        ("at its peak", [each.peak_bytes for each in rows], palette.of_category("activations"), 0.72),
        ("at its end", [each.alloc_bytes for each in rows], palette.of_category("weights"), 0.72),
    ):
        made.add_trace(
            go.Bar(
                y=names,
                x=[None if each is None else each / size for each in values],
                orientation="h",
                name=name,
                width=width,
                marker={"color": colour},
                hovertemplate=f"%{{y}} {name}: %{{x:,.3f}} {unit}<extra></extra>",
            )
        )
    made.update_xaxes(title=f"{unit}, as the allocator counts")
    made.update_yaxes(autorange="reversed")
    return made


def peak_icicle(rows: pl.DataFrame) -> go.Figure:
    """The peak by category, component and role; `rows` are allocations alive then: size_bytes and these."""
    unit, size = unit_of(float(rows["size_bytes"].sum()))
    sized = rows.with_columns(pl.col("size_bytes") / size, pl.lit(1).alias("one"))
    found = boxes.boxes(sized, ("category", "component", "role"), "size_bytes", "one")
    return boxes.icicle(found, "live at the peak", unit, lambda each: palette.of_category(each.path[0]), "allocations", 380)

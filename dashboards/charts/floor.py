"""How far each kernel class stands above the least time that this GPU could need for the same work."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards.charts.style import MUTED, figure, label
from profiler.core import palette

# Classes below this share of the window say nothing.
_LEAST_SHARE = 0.002


def bars(classes: pl.DataFrame, window: str) -> go.Figure:
    """A bar a class as long as it takes, a mark where its floor lies; `classes` as `metrics.floor` gives them, ms a repeat."""
    kept = classes.filter(pl.col("measured_ns") >= _LEAST_SHARE * pl.col("measured_ns").sum()).reverse()
    made = figure(96 + 30 * kept.height, barmode="overlay", hovermode="closest")
    if kept.is_empty():
        return made
    names = [label(name) for name in kept["class"]]
    texts = [_text(row) for row in kept.to_dicts()]
    made.add_trace(
        go.Bar(
            y=names,
            x=(kept["measured_ns"] / 1e6).to_list(),
            orientation="h",
            name="measured",
            marker={"color": [palette.of_class(name) for name in kept["class"]]},
            text=[f"{ratio:,.2f} ×" if ratio else "" for ratio in kept["ratio"]],
            textposition="outside",
            cliponaxis=False,
            hovertext=texts,
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    floors = (kept["floor_ns"] / 1e6).to_list()
    mark = {"symbol": "line-ns", "size": 18, "line": {"width": 3, "color": MUTED}}
    made.add_trace(go.Scatter(y=names, x=floors, mode="markers", name="floor", marker=mark, hoverinfo="skip"))
    made.update_xaxes(title=f"ms a {window}; the number is how many times its floor", rangemode="tozero")
    return made


def _text(row: dict[str, float | str | None]) -> str:
    measured, least, flops = (float(row[name] or 0.0) for name in ("measured_ns", "floor_ns", "flops"))
    rate = f"<br>{flops / measured / 1e3:,.0f} TFLOP/s" if flops and measured else ""
    bound = f", bound by {row['bound']}" if row["bound"] else ""
    return f"<b>{label(str(row['class']))}</b><br>{measured / 1e6:,.3f} ms, floor {least / 1e6:,.3f} ms{bound}{rate}"

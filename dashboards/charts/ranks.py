"""Ranks: what a step of each is made of, and the same device time as Holistic Trace Analysis (HTA) and we cut it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from dashboards.charts.style import figure, filled
from profiler.core import palette
from profiler.metrics.classes import COMMUNICATION
from profiler.metrics.ledger_segments import WAITING_FOR_RANK

_IDLE = "idle"
# Column, what it is called, and its fill.
PARTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("compute_us", "compute", {"color": palette.ACCENT}),
    ("exposed_us", "exposed communication", filled("busy", COMMUNICATION)),
    ("waiting_us", WAITING_FOR_RANK, filled("idle", WAITING_FOR_RANK)),
    ("idle_us", "other idle time", filled("idle", _IDLE)),
)
"""What a step is made of, from left to right."""
_DEVICE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("compute_us", "compute", {"color": palette.ACCENT}),
    ("non_compute_us", "communication, copies, memsets alone", filled("busy", COMMUNICATION)),
    ("idle_us", "idle", filled("idle", _IDLE)),
)


def steps(rows: Sequence[dict[str, Any]], window: str) -> go.Figure:
    """One bar a rank as long as its step, rank 0 on top; rows as `RankSummary.ranks` has them."""
    shown = [row for row in rows if row["step_us"]]
    return _bars([(f"rank {row['rank']}", row) for row in shown], PARTS, f"traced ms of a {window}")


def beside(own: Sequence[dict[str, Any]], theirs: dict[int, dict[str, Any]], name: str) -> go.Figure:
    """Two bars a rank, ours under HTA's: the device's time from the first event to the end of the last.

    Args:
        own: of `hta_data`; theirs: HTA's temporal breakdown by rank; name: what HTA is called.
    """
    rows = []
    for each in own:
        if each["rank"] in theirs:
            rows += [(f"rank {each['rank']}, {name}", theirs[each["rank"]]), (f"rank {each['rank']}, diffuscope", each)]
    return _bars(rows, _DEVICE, "traced ms of device time")


def _bars(rows: Sequence[tuple[str, dict[str, Any]]], parts: Sequence[tuple[str, str, dict[str, Any]]], title: str) -> go.Figure:
    made = figure(110 + 34 * len(rows), barmode="stack", hovermode="closest")
    if not rows:
        return made
    names = [name for name, _ in rows][::-1]
    for column, called, marker in parts:
        values = [(row[column] or 0.0) / 1e3 for _, row in rows][::-1]
        if not any(values):
            continue
        hover = f"<b>%{{y}}</b><br>{called}: %{{x:,.3f}} ms<extra></extra>"
        made.add_trace(go.Bar(y=names, x=values, orientation="h", name=called, marker=marker, hovertemplate=hover))
    made.update_xaxes(title=title)
    made.update_yaxes(showgrid=False)
    return made

"""Runs beside each other: latency against memory, and which of them no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dashboards.charts.style import MUTED, figure, label
from profiler.core import palette
from profiler.metrics.listing import RunRow

# What a name takes of the figure, each way.
_NAME_WIDE, _NAME_HIGH = 0.24, 0.07
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star", "hexagon", "cross")


def comparable(rows: Sequence[RunRow]) -> list[list[RunRow]]:
    """Placed runs that may be held against each other (same model, batch, GPU and number of ranks), the largest group first."""
    groups: dict[tuple[object, ...], list[RunRow]] = {}
    for row in placed(rows):
        groups.setdefault((row.model, row.batch, row.gpu, row.ranks), []).append(row)
    return sorted(groups.values(), key=len, reverse=True)


def group_name(rows: Sequence[RunRow]) -> str:
    """What the runs of a group have in common, and how many they are."""
    first = rows[0]
    batch = f"batch {first.batch}" if first.batch is not None else ""
    gpu = (first.gpu or "").removeprefix("NVIDIA ")
    known = [first.model or "unknown model", batch, f"{first.ranks} x {gpu or 'ranks'}" if first.ranks > 1 else gpu]
    return f"{' · '.join(each for each in known if each)} ({len(rows)})"


def pareto(rows: Sequence[RunRow]) -> list[RunRow]:
    """Of comparable runs those that no other beats in both latency and inference peak, fastest first."""
    front: list[RunRow] = []
    for row in sorted(placed(rows), key=lambda each: (each.median_ms, each.inference_peak_gib)):
        if not front or (row.inference_peak_gib or 0) < (front[-1].inference_peak_gib or 0):
            front.append(row)
    return front


def placed(rows: Sequence[RunRow]) -> list[RunRow]:
    """Runs that have a place in the figure: timed, and with a known peak."""
    return [row for row in rows if row.median_ms is not None and row.inference_peak_gib is not None]


def scatter(rows: Sequence[RunRow]) -> go.Figure:
    """Seconds a call against GiB at the inference peak; one colour and symbol a scheme, a line and rings a Pareto front."""
    shown, groups = placed(rows), comparable(rows)
    made = figure(360, hovermode="closest")
    for group in groups:
        front = pareto(group)
        if len(group) > 1:
            made.add_trace(_front(front, first=group is groups[0]))
    best = {row.run for group in groups if len(group) > 1 for row in pareto(group)}
    named = _named([row for group in groups for row in (*pareto(group), *group)])
    several = len({row.model for row in shown}) > 1
    schemes = list(dict.fromkeys(row.scheme or "unknown" for row in shown))
    for number, scheme in enumerate(schemes):
        of = [row for row in shown if (row.scheme or "unknown") == scheme]
        made.add_trace(_points(scheme, of, number, [_text(row, several) if row.run in named else "" for row in of]))
    made.add_trace(_rings([row for row in shown if row.run in best]))
    # Names stand beside their points: room for the last one.
    longest = max(((row.median_ms or 0) / 1e3 for row in shown), default=1.0)
    made.update_xaxes(title="time of a call, s", range=[0, longest * 1.18])
    made.update_yaxes(title="inference peak, GiB", rangemode="tozero")
    return made


def _rings(rows: Sequence[RunRow]) -> go.Scatter:
    return go.Scatter(
        x=[(row.median_ms or 0) / 1e3 for row in rows],
        y=[row.inference_peak_gib for row in rows],
        mode="markers",
        name="on the front",
        marker={"symbol": "circle-open", "size": 23, "color": MUTED, "line": {"width": 2}},
        hoverinfo="skip",
    )


def _front(front: Sequence[RunRow], first: bool) -> go.Scatter:
    return go.Scatter(
        x=[(row.median_ms or 0) / 1e3 for row in front],
        y=[row.inference_peak_gib for row in front],
        mode="lines",
        name="Pareto front",
        legendgroup="front",
        showlegend=first,
        line={"color": palette.TOTAL, "width": 1.5, "dash": "dot", "shape": "hv"},
        hoverinfo="skip",
    )


def _named(rows: Sequence[RunRow]) -> set[str]:
    """Runs whose names can stand beside their points without covering another's; the first come first."""
    longest = max(((row.median_ms or 0) for row in rows), default=1.0) or 1.0
    highest = max(((row.inference_peak_gib or 0) for row in rows), default=1.0) or 1.0
    chosen: list[RunRow] = []
    for row in rows:
        apart = (
            abs((row.median_ms or 0) - (each.median_ms or 0)) > _NAME_WIDE * longest
            or abs((row.inference_peak_gib or 0) - (each.inference_peak_gib or 0)) > _NAME_HIGH * highest
            for each in chosen
        )
        if all(apart):
            chosen.append(row)
    return {row.run for row in chosen}


def _text(row: RunRow, with_model: bool) -> str:
    model = (row.model or "").rpartition(":")[2] if with_model else ""
    return label(" · ".join(each for each in (model, row.scheme, row.compile) if each and each != "none"), 40)


def _points(scheme: str, rows: Sequence[RunRow], number: int, texts: list[str]) -> go.Scatter:
    return go.Scatter(
        x=[(row.median_ms or 0) / 1e3 for row in rows],
        y=[row.inference_peak_gib for row in rows],
        mode="markers+text",
        name=label(scheme),
        text=texts,
        textposition="middle right",
        customdata=[[row.name] for row in rows],
        hovertext=[label(row.name, 80) for row in rows],
        hovertemplate="<b>%{hovertext}</b><br>%{x:.2f} s a call<br>%{y:.2f} GiB at the peak<extra></extra>",
        marker={
            "color": palette.SCHEMES[number % len(palette.SCHEMES)],
            "symbol": _SYMBOLS[number % len(_SYMBOLS)],
            "size": 14,
            "line": {"width": 1, "color": "#FFFFFF"},
        },
    )

"""Tuned products: what a step of them takes, and how fast each shape runs beside what it would run otherwise."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from dashboards.charts.style import MUTED, figure, label
from profiler.core import palette
from profiler.metrics.tune import TUNED, UNTUNED, TuneResult

COLOURS = {
    TUNED: palette.FASTER,
    "fp8 row-wise": palette.CLASSES["GEMM fp8"],
    "bf16": palette.CLASSES["GEMM bf16"],
    UNTUNED: palette.SLOWER,
    "int_mm": palette.CLASSES["other"],
}
"""One colour a way to multiply, in every figure of the page."""
_SPOKEN = {UNTUNED: "untuned", "int_mm": "int_mm, not scaled"}
_SYMBOLS = {"fp8 row-wise": "diamond", "bf16": "circle", UNTUNED: "x", "int_mm": "triangle-up"}


def spoken(name: str) -> str:
    """A way to multiply, as a figure names it."""
    return _SPOKEN.get(name, name)


def ms(value: float) -> str:
    """Milliseconds with as many digits as tell tunings apart."""
    return f"{value:,.2f}" if value >= 1 else f"{value:.3f}"


def shape_name(row: dict[str, Any]) -> str:
    """M x K x N of a row, as `tune --shape` takes it."""
    return f"{row['m']}x{row['k']}x{row['n']}"


def step(step_ms: dict[str, float]) -> go.Figure:
    """What all products of a step take together, a bar a way to multiply, shortest on top; `step_ms` as `TuneResult` has it."""
    made = figure(64 + 30 * len(step_ms), showlegend=False)
    if not step_ms:
        return made
    tuned = step_ms.get(TUNED, 0.0)
    order = sorted(step_ms, key=lambda name: -step_ms[name])
    times = [f"  {ms(step_ms[name])} ms" + (f" · {step_ms[name] / tuned:.2f} ×" if tuned else "") for name in order]
    made.add_trace(_bars([spoken(name) for name in order], [step_ms[name] for name in order], times, [_colour(n) for n in order]))
    made.update_yaxes(showgrid=False)
    made.update_xaxes(title="ms a step, predicted", range=[0, 1.18 * max(step_ms.values())])
    return made


def rates(result: TuneResult) -> go.Figure:
    """A bar a shape as long as its tuned rate, a mark where each baseline lies, a line where the device ends; dearest on top."""
    rows = sorted(result.shapes.iter_rows(named=True), key=lambda row: row["us"] * row["count"])
    made = figure(96 + 32 * len(rows), barmode="overlay", hovermode="closest")
    if not rows:
        return made
    names = [f"{label(shape_name(row))}  ({row['count']} a step)" for row in rows]
    made.add_trace(_tuned(rows, names))
    for name in (each for each in COLOURS if each in set(result.tables.baselines["baseline"])):
        made.add_trace(_marks(result, name, rows, names))
    if result.ceiling_tops:
        made.add_vline(result.ceiling_tops, line={"color": MUTED, "width": 1.5, "dash": "dash"})
        text = f"limit: the fastest 8-bit product of this run, {result.ceiling_tops:,.0f}"
        made.add_annotation(
            x=result.ceiling_tops, y=1, yref="paper", text=text, showarrow=False, xanchor="right", yanchor="bottom"
        )
    made.update_xaxes(title="TOPS (10¹² operations a second)", rangemode="tozero")
    return made


def ways(result: TuneResult, index: int) -> go.Figure:
    """Every way to multiply one shape: the fastest kernel of each space, and the baselines, shortest on top; in us."""
    shape = result.tables.shapes[index]
    found = {space: (each.us, palette.FASTER, each.kernel) for space, each in shape.spaces.items()}
    found |= {spoken(name): (us, _colour(name), "baseline") for name, us in shape.baselines.items()}
    made = figure(64 + 30 * len(found), showlegend=False)
    if not found:
        return made
    order = sorted(found, key=lambda name: -found[name][0])
    values = [found[name][0] for name in order]
    bars = _bars([label(name) for name in order], values, [f"  {us:,.1f} us" for us in values], [found[n][1] for n in order])
    bars.update(
        customdata=[[label(found[name][2], 120)] for name in order],
        hovertemplate="%{y}: %{x:,.1f} us<br>%{customdata[0]}<extra></extra>",
    )
    made.add_trace(bars)
    made.update_yaxes(showgrid=False)
    made.update_xaxes(title="us a call", range=[0, 1.16 * max(values)])
    return made


def _colour(name: str) -> str:
    return COLOURS.get(name) or palette.spare(name)


def _bars(names: list[str], values: list[float], texts: list[str], colours: list[str]) -> go.Bar:
    return go.Bar(
        y=names,
        x=values,
        orientation="h",
        marker={"color": colours},
        text=texts,
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:,.3f} ms<extra></extra>",
    )


def _tuned(rows: list[dict[str, Any]], names: list[str]) -> go.Bar:
    return go.Bar(
        y=names,
        x=[row["tops"] for row in rows],
        orientation="h",
        name=TUNED,
        marker={"color": COLOURS[TUNED]},
        customdata=[[row["us"], label(row["kernel"], 120)] for row in rows],
        hovertemplate="<b>%{y}</b><br>tuned: %{x:,.1f} TOPS, %{customdata[0]:,.1f} us<br>%{customdata[1]}<extra></extra>",
    )


def _marks(result: TuneResult, name: str, rows: list[dict[str, Any]], names: list[str]) -> go.Scatter:
    us = [result.tables.shapes[row["shape"]].baselines.get(name) for row in rows]
    tops = [2 * row["m"] * row["k"] * row["n"] / each / 1e6 if each else None for row, each in zip(rows, us, strict=True)]
    return go.Scatter(
        y=names,
        x=tops,
        mode="markers",
        name=spoken(name),
        marker={
            "color": _colour(name),
            "symbol": _SYMBOLS.get(name, "star"),
            "size": 11,
            "line": {"width": 1, "color": "#FFFFFF"},
        },
        customdata=[[each] for each in us],
        hovertemplate=f"<b>%{{y}}</b><br>{label(spoken(name))}: %{{x:,.1f}} TOPS, %{{customdata[0]:,.1f}} us<extra></extra>",
    )

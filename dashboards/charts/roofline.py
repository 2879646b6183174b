"""The roofline: how fast calls that multiply run, beside the most that this GPU was measured to do at their intensity."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from dashboards.charts.style import MUTED, figure, label
from profiler.core import palette
from profiler.metrics.floor_prices import COPY_GBS
from profiler.metrics.roofline import Roofline, rates, roof_tflops

# Points of the smallest and the largest, by the share of time.
_LEAST, _MOST = 7, 34
_NAMES = {
    "bf16_tflops": "bf16",
    "fp16_tflops": "fp16",
    "fp32_tflops": "fp32",
    "fp8_tflops": "fp8",
    "int8_tops": "int8",
    "fp8_2:4_tflops": "fp8 2:4 (twice the dense)",
    "int8_2:4_tops": "int8 2:4 (twice the dense)",
}


def plot(found: Roofline) -> go.Figure:
    """Calls as points as large as their time, rate over intensity, both logarithmic; a roof each dtype that runs."""
    made = figure(430, hovermode="closest")
    rows = rates(found.calls)
    if rows.is_empty():
        return made
    used = [name for name in rows["ceiling"].unique(maintain_order=True) if name in found.ceilings]
    left, right = float(rows["intensity"].min()) / 2, float(rows["intensity"].max()) * 2  # type: ignore[arg-type]
    for number, name in enumerate(used):
        made.add_trace(_roof(found, name, left, right, number))
    longest = float(rows["measured_ns"].max())  # type: ignore[arg-type]
    for kernel_class in rows["class"].unique(maintain_order=True):
        made.add_trace(
            _points(str(kernel_class), [row for row in rows.to_dicts() if row["class"] == kernel_class], found, longest)
        )
    made.update_xaxes(title="arithmetic intensity, FLOP a byte", type="log", range=[math.log10(left), math.log10(right)])
    made.update_yaxes(title="10¹² operations a second", type="log")
    return made


def _roof(found: Roofline, name: str, left: float, right: float, number: int) -> go.Scatter:
    most = found.ceilings[name]
    ridge = most * 1e3 / found.ceilings[COPY_GBS]
    xs = sorted({left, min(max(ridge, left), right), right})
    reached = ", as reached here" if name in {each.name for each in found.raised} else ""
    unit = "TOP/s" if name.endswith("tops") else "TFLOP/s"
    return go.Scatter(
        x=xs,
        y=[roof_tflops(x, most, found.ceilings) for x in xs],
        mode="lines",
        name=f"most of {_NAMES.get(name, name)}: {most:,.0f} {unit}{reached}",
        line={"color": MUTED, "width": 2, "dash": ("solid", "dash", "dot", "dashdot")[number % 4]},
        hoverinfo="name",
    )


def _points(kernel_class: str, rows: list[dict[str, float | str]], found: Roofline, longest: float) -> go.Scatter:
    sizes = [_LEAST + (_MOST - _LEAST) * math.sqrt(float(row["measured_ns"]) / longest) for row in rows]
    return go.Scatter(
        x=[row["intensity"] for row in rows],
        y=[row["tflops"] for row in rows],
        mode="markers",
        name=label(kernel_class),
        marker={
            "color": palette.of_class(kernel_class),
            "size": sizes,
            "opacity": 0.85,
            "line": {"width": 1, "color": "#FFFFFF"},
        },
        customdata=[[row["kernel"]] for row in rows],
        hovertext=[_text(row, found) for row in rows],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _text(row: dict[str, float | str], found: Roofline) -> str:
    rate, spent = float(row["tflops"]), float(row["measured_ns"])
    most = found.ceilings.get(str(row["ceiling"]))
    roof = roof_tflops(float(row["intensity"]), most, found.ceilings) if most else 0.0
    share = f", {rate / roof:.0%} of its roof" if roof else ""
    share += " (another clock, or data still in the cache)" if roof and rate > roof else ""
    called = f"{float(row['count']):,.0f} × {label(str(row['op']))} of {label(str(row['shape']), 60)}"
    return f"<b>{called}</b><br>{spent / 1e6:,.3f} ms, {rate:,.0f} × 10¹² a second{share}<br>{label(str(row['kernel']), 70)}"

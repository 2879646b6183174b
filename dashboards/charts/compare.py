"""Two runs: from the base to the new one, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboards.charts.style import MUTED, figure, filled, label
from profiler.core import palette
from profiler.core.units import GIB, MIB
from profiler.metrics.classes import COMMUNICATION
from profiler.metrics.compare_calls import CallDifference
from profiler.metrics.compare_memory import Bytes
from profiler.metrics.compare_ranks import Scaling
from profiler.metrics.compare_time import ELEMENTWISE, EXPOSED, GEMMS, IDLE, QUANTIZATION, WAITING, WindowDifference
from profiler.metrics.compare_weights import ExpectedWin

# What is less of the base's weights than this is no step of the waterfall.
_LEAST = 1e-4
_LOOKS: dict[str, Any] = {
    "increasing": {"marker": {"color": palette.SLOWER}},
    "decreasing": {"marker": {"color": palette.FASTER}},
    "totals": {"marker": {"color": palette.TOTAL}},
    "connector": {"line": {"color": palette.TOTAL, "width": 1, "dash": "dot"}},
}
# The colour of a group is that of the class that is most of it.
_CLASS_OF = {
    GEMMS: "GEMM",
    "attention": "attention",
    "convolutions": "convolution",
    ELEMENTWISE: "fused pointwise",
    QUANTIZATION: "quantize/dequantize",
    EXPOSED: COMMUNICATION,
}


@dataclass(frozen=True)
class Change:
    """One step of a waterfall."""

    name: str
    base: float
    new: float

    @property
    def delta(self) -> float:
        """New less base."""
        return self.new - self.base


def of_window(window: WindowDifference) -> list[Change]:
    """What a window's difference comes from, in untraced ms of one repeat, biggest first; sums to the window."""
    found = [Change(each.name, each.base_ns / 1e6, each.new_ns / 1e6) for each in window.groups()]
    return sorted(found, key=lambda each: -abs(each.delta))


def of_scaling(found: Scaling) -> list[Change]:
    """What a window on many ranks takes beyond an even share of that on few, in untraced ms of one rank."""
    return [Change(each.name, each.even_ns / 1e6, each.many_ns / 1e6) for each in found.parts]


def of_call(calls: CallDifference) -> list[Change]:
    """The same of a whole call, by window, in the order of time."""
    return [Change(each.name, each.base_ms, each.new_ms) for each in calls.parts]


def of_bytes(rows: Sequence[Bytes]) -> tuple[list[Change], str]:
    """Sizes that both runs say, and their unit."""
    known = [(each.name, each.base, each.new) for each in rows if each.base is not None and each.new is not None]
    biggest = max((max(base, new) for _, base, new in known), default=0)
    unit, size = ("GiB", GIB) if biggest >= GIB / 10 else ("MiB", MIB)
    return [Change(name, base / size, new / size) for name, base, new in known], unit


def waterfall(changes: Sequence[Change], unit: str, names: tuple[str, str], promised: float | None = None) -> go.Figure:
    """From the base's sum to the new run's, one bar a change; what does not change is left out.

    Args:
        promised: what arithmetic says that the new run's sum should be: a line.
    """
    first, last = sum(each.base for each in changes), sum(each.new for each in changes)
    if not first and not last:
        return figure(200)
    steps = [each for each in changes if abs(each.delta) > 1e-4 * max(first, last)]
    bar = go.Waterfall(
        x=[label(names[0], 28), *(label(each.name, 30) for each in steps), label(names[1], 28)],
        y=[first, *(each.delta for each in steps), last],
        measure=["absolute", *("relative" for _ in steps), "total"],
        text=[f"{first:,.2f}", *(f"{each.delta:+,.2f}" for each in steps), f"{last:,.2f}"],
        textposition="outside",
        cliponaxis=False,
        customdata=[[first, last], *([each.base, each.new] for each in steps), [first, last]],
        hovertemplate="<b>%{x}</b><br>%{customdata[0]:,.3f} → %{customdata[1]:,.3f} " + unit + "<extra></extra>",
        **_LOOKS,
    )
    made = figure(380, bar, waterfallgap=0.3, showlegend=False)
    made.update_yaxes(title=unit, rangemode="tozero")
    made.update_layout(margin={"t": 26})
    if promised is not None:
        text = f"by arithmetic {promised:,.2f}"
        made.add_hline(promised, line={"color": MUTED, "dash": "dash", "width": 1.5}, annotation_text=text)
    return made


def expected(found: ExpectedWin, names: tuple[str, str]) -> go.Figure:
    """Weights: from the base by what arithmetic promises to that, and from there by what it missed to what is stored.

    Where the new run does not say what it stores, the promise alone.
    """
    promised = [(label(each.component), (each.expected - each.base) / GIB) for each in found.components]
    missed = [(label(each.component), (each.new - each.expected) / GIB) for each in found.components if each.new is not None]
    base, arithmetic = found.base_bytes / GIB, found.expected_bytes / GIB
    bars = [(f"weights of {label(names[0], 24)}", base, "absolute")]
    bars += [(f"{name}, promised", delta, "relative") for name, delta in promised if abs(delta) > _LEAST * base]
    bars.append(("by arithmetic", arithmetic, "total"))
    if len(missed) == len(found.components):
        bars += [(f"{name}, not as promised", delta, "relative") for name, delta in missed if abs(delta) > _LEAST * base]
        bars.append((f"stored by {label(names[1], 24)}", arithmetic + sum(delta for _, delta in missed), "total"))
    return _bars(bars, "GiB of weights")


def _bars(bars: Sequence[tuple[str, float, str]], unit: str) -> go.Figure:
    text = [f"{value:+,.2f}" if kind == "relative" else f"{value:,.2f}" for _, value, kind in bars]
    bar = go.Waterfall(
        x=[name for name, _, _ in bars],
        y=[value for _, value, _ in bars],
        measure=[kind for _, _, kind in bars],
        text=text,
        textposition="outside",
        cliponaxis=False,
        hovertemplate="<b>%{x}</b><br>%{text} " + unit + "<extra></extra>",
        **_LOOKS,
    )
    made = figure(340, bar, waterfallgap=0.3, showlegend=False)
    made.update_yaxes(title=unit, rangemode="tozero")
    made.update_layout(margin={"t": 26})
    return made


def several(windows: Sequence[tuple[str, Sequence[tuple[str, float]]]], unit: str) -> go.Figure:
    """A bar a run, cut into groups of kernels and idle time: (run, [(group, value)])."""
    groups = list(dict.fromkeys(group for _, of in windows for group, _ in of))
    made = figure(110 + 38 * len(windows), barmode="stack", hovermode="closest")
    for name in groups:
        made.add_trace(
            go.Bar(
                y=[label(run, 40) for run, _ in windows],
                x=[dict(of).get(name, 0.0) for _, of in windows],
                orientation="h",
                name=label(name),
                marker=filled("idle" if name in (IDLE, WAITING) else "busy", _CLASS_OF.get(name, "other")),
                hovertemplate=f"<b>{label(name)}</b><br>%{{y}}: %{{x:,.2f}} {unit}<extra></extra>",
            )
        )
    made.update_xaxes(title=unit)
    made.update_yaxes(autorange="reversed")
    return made

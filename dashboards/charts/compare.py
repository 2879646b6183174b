"""Two runs: from the base to the new one, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.charts.style import figure, label
from profiler.core import palette
from profiler.core.units import GIB, MIB, gib
from profiler.metrics.compare_calls import CallDifference
from profiler.metrics.compare_memory import Bytes
from profiler.metrics.compare_time import WindowDifference


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


def of_call(calls: CallDifference) -> list[Change]:
    """The same of a whole call, by window, in the order of time."""
    return [Change(each.name, each.base_ms, each.new_ms) for each in calls.parts]


def of_bytes(rows: Sequence[Bytes]) -> tuple[list[Change], str]:
    """Sizes that both runs say, and their unit."""
    known = [(each.name, each.base, each.new) for each in rows if each.base is not None and each.new is not None]
    biggest = max((max(base, new) for _, base, new in known), default=0)
    unit, size = ("GiB", GIB) if biggest >= GIB / 10 else ("MiB", MIB)
    return [Change(name, base / size, new / size) for name, base, new in known], unit


def waterfall(changes: Sequence[Change], unit: str, names: tuple[str, str]) -> go.Figure:
    """From the base's sum to the new run's, one bar a change; what does not change is left out."""
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
        increasing={"marker": {"color": palette.SLOWER}},
        decreasing={"marker": {"color": palette.FASTER}},
        totals={"marker": {"color": palette.TOTAL}},
        connector={"line": {"color": palette.TOTAL, "width": 1, "dash": "dot"}},
    )
    made = figure(380, bar, waterfallgap=0.3, showlegend=False)
    made.update_yaxes(title=unit, rangemode="tozero")
    made.update_layout(margin={"t": 26})
    return made


def expected(components: Sequence[tuple[str, tuple[float | None, ...]]]) -> go.Figure:
    """Weights by component: (component, bytes of the base, by arithmetic, as stored; None where nobody says)."""
    made = figure(110 + 40 * len(components), barmode="group")
    names = [label(name) for name, _ in components]
    for place, (name, colour) in enumerate(
        (("base", palette.TOTAL), ("by arithmetic", palette.SCHEMES[4]), ("stored", palette.SCHEMES[0]))
    ):
        made.add_trace(
            go.Bar(
                y=names,
                x=[gib(sizes[place]) for _, sizes in components],
                orientation="h",
                name=name,
                marker={"color": colour},
                hovertemplate=f"%{{y}}, {name}: %{{x:,.3f}} GiB<extra></extra>",
            )
        )
    made.update_xaxes(title="GiB of weights")
    made.update_yaxes(autorange="reversed")
    return made

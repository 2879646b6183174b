"""The ledger of a window: one bar that is the whole window, and the same by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.charts.style import figure, filled, label
from profiler.rules.context import Row

# Labels below this share of the window share one segment of the bar.
_LEAST_SHARE = 0.004
BUSY, IDLE = "busy", "idle"


@dataclass(frozen=True)
class Group:
    """Ledger rows of one label: untraced and traced ns of one repeat, and how many kernels or gaps."""

    kind: str
    label: str
    priced_ns: float
    total_ns: float
    count: float


def groups(rows: Sequence[Row]) -> list[Group]:
    """Rows by label, dearest first, busy before idle. They sum to the window."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.kind, row.label), []).append(row)
    made = [
        Group(kind, name, sum(row.priced_ns for row in of), sum(row.total_ns for row in of), sum(row.count for row in of))
        for (kind, name), of in found.items()
    ]
    return sorted(made, key=lambda each: (each.kind != BUSY, -each.priced_ns))


def bar(rows: Sequence[Row], window: str) -> go.Figure:
    """One stacked bar as long as the window takes untraced, in ms. Its legend is `shown`, for the page to list."""
    whole = sum(each.priced_ns for each in groups(rows))
    made = figure(122, barmode="stack", showlegend=False, hovermode="closest", bargap=0.05)
    for each in shown(rows):
        made.add_trace(_segment(each, whole, window))
    made.update_xaxes(title={"text": f"ms of a {window}", "standoff": 12}, range=[0, whole / 1e6] if whole else None)
    made.update_yaxes(visible=False)
    return made


def shown(rows: Sequence[Row]) -> list[Group]:
    """The segments of the bar: labels, and what is too short to be seen together, busy before idle."""
    every = groups(rows)
    whole = sum(each.priced_ns for each in every)
    found: list[Group] = []
    for kind, name in ((BUSY, "other, busy"), (IDLE, "other, idle")):
        of = [each for each in every if each.kind == kind and each.priced_ns > 0]
        rest = [each for each in of if each.priced_ns < _LEAST_SHARE * whole]
        found += [each for each in of if each not in rest]
        if rest:
            sums = (sum(each.priced_ns for each in rest), sum(each.total_ns for each in rest), sum(each.count for each in rest))
            found.append(rest[0] if len(rest) == 1 else Group(kind, name, *sums))
    return found


def _segment(each: Group, whole: float, window: str) -> go.Bar:
    share = each.priced_ns / whole if whole else 0.0
    return go.Bar(
        x=[each.priced_ns / 1e6],
        y=[""],
        orientation="h",
        name=label(each.label),
        marker=filled(each.kind, each.label),
        text=[f"{each.priced_ns / 1e6:,.1f}" if share > 0.035 else ""],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        hovertemplate=(
            f"<b>{label(each.label)}</b><br>{each.priced_ns / 1e6:,.3f} ms a {window}, {share:.1%}"
            f"<br>{each.kind}, {each.count:,.0f} times<extra></extra>"
        ),
    )

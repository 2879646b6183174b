"""Memory of several runs over the same parts of a call."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dashboards.charts.style import MUTED, figure, label
from profiler.core import palette
from profiler.core.units import GIB

Points = Sequence[dict[str, object]]
_SPOKEN = {"text": "text encoding", "step": "steps", "decode": "decoding", "call": "the call"}
_DASHES = ("solid", "dash", "dot", "dashdot")


def overlay(timelines: Sequence[tuple[str, Points]]) -> go.Figure:
    """Live bytes of several runs over the same stretches of a call: (run, points of `metrics.compare_timelines`)."""
    made = figure(320, hovermode="x unified")
    for number, (name, points) in enumerate(timelines):
        made.add_trace(
            go.Scatter(
                x=list(range(len(points))),
                y=[float(str(each["live_bytes"])) / GIB for each in points],
                name=label(name),
                mode="lines",
                # Of more runs than colours the line tells them apart.
                line={
                    "width": 2,
                    "shape": "hv",
                    "color": palette.SCHEMES[number % len(palette.SCHEMES)],
                    "dash": _DASHES[number // len(palette.SCHEMES) % len(_DASHES)],
                },
                hovertemplate="%{y:,.3f} GiB",
            )
        )
    _bands(made, max((points for _, points in timelines), key=len, default=[]))
    made.update_xaxes(title="equal parts of a call, one beside the other", showticklabels=False, showgrid=False)
    made.update_yaxes(title="live, GiB as requested", rangemode="tozero")
    return made


def _bands(made: go.Figure, points: Points) -> None:
    """A band a stretch of the call, every other one tinted, with its name."""
    start = 0
    stretches = [str(each["stretch"]) for each in points]
    for number, name in enumerate(dict.fromkeys(stretches)):
        end = start + stretches.count(name)
        made.add_vrect(
            x0=start,
            x1=end,
            line_width=0,
            fillcolor=MUTED,
            opacity=0.13 if number % 2 else 0.06,
            layer="below",
            annotation_text=_SPOKEN.get(name, label(name)),
            annotation_position="bottom left",
            annotation_font_size=11,
        )
        start = end

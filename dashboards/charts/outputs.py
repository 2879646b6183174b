"""Maps of latents: where in the picture two runs differ."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from dashboards.charts.style import figure

Map = Sequence[Sequence[float]]


def latents(values: Map, highest: float, unit: str) -> go.Figure:
    """Values over the picture, 0 dark to `highest` bright; the same `highest` makes two of them comparable."""
    heat = go.Heatmap(
        z=[list(row) for row in values],
        zmin=0,
        zmax=highest or 1.0,
        colorscale="Cividis",
        colorbar={"title": {"text": unit, "side": "right"}, "thickness": 12},
        hovertemplate="row %{y}, column %{x}: %{z:.4f}<extra></extra>",
    )
    made = figure(330, heat)
    made.update_xaxes(showticklabels=False, showgrid=False, constrain="domain")
    made.update_yaxes(showticklabels=False, showgrid=False, autorange="reversed", scaleanchor="x", constrain="domain")
    return made


def highest(maps: Sequence[Map]) -> float:
    """The largest value of several maps."""
    return max((value for each in maps for row in each for value in row), default=0.0)

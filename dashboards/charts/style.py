"""What all figures share: fonts, margins, hover boxes, names as plain text."""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go

from profiler.core import palette
from profiler.report.names import readable, shorten

FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"
GRID = "rgba(128,140,155,0.22)"
MUTED = "#7A8794"
# Wide enough to tell kernels apart, narrow enough for 1280 px.
NAME_WIDTH = 46
CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "svg"},
}


def label(name: str, width: int = NAME_WIDTH) -> str:
    """A name of a trace for a figure: without namespaces, cut to `width`, nothing in it taken for markup."""
    return html.escape(shorten(readable(name), width), quote=False)


def figure(height: int, *traces: Any, **layout: Any) -> go.Figure:
    """A figure of fixed height in pixels that fills the width it gets; its background is the page's."""
    made = go.Figure(list(traces))
    made.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        font={"family": FONT, "size": 13},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"font": {"family": FONT, "size": 13}, "align": "left", "namelength": -1},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "traceorder": "normal"},
        bargap=0.28,
    )
    made.update_xaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True)
    made.update_yaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True)
    made.update_layout(layout)
    return made


def filled(kind: str, name: str) -> dict[str, Any]:
    """The fill of a ledger row: its colour, hatched where it is idle time."""
    return {
        "color": palette.of_row(kind, name),
        "line": {"width": 0.5, "color": "#FFFFFF"},
        "pattern": {"shape": "" if kind == "busy" else "/", "fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.6)", "size": 6},
    }


def empty(figure_: go.Figure) -> bool:
    """Whether a figure shows nothing."""
    return not figure_.data

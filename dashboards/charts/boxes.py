"""Icicles: what a whole is made of, level by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from dashboards.charts.style import figure, label
from profiler.core import palette

# Boxes of one parent, by level; the rest of it is one box.
_SHOWN = (24, 8, 6)
# Letters that fit into a box as wide as the figure.
_LETTERS = 150


@dataclass(frozen=True)
class Box:
    """One box: its path of names from the whole down, its size, what it counts."""

    path: tuple[str, ...]
    value: float
    count: float


def boxes(rows: pl.DataFrame, levels: Sequence[str], value: str, count: str) -> list[Box]:
    """Boxes of every level under the whole, biggest first in each; small ones of a parent with many are one."""
    made = [Box((), float(rows[value].sum()), float(rows[count].sum()))]
    return made + _under((), rows, levels, value, count)


def _under(path: tuple[str, ...], rows: pl.DataFrame, levels: Sequence[str], value: str, count: str) -> list[Box]:
    if not levels:
        return []
    sums = rows.group_by(levels[0]).agg(pl.col(value).sum(), pl.col(count).sum())
    ranked = sums.sort([value, levels[0]], descending=[True, False])
    made: list[Box] = []
    most = _SHOWN[min(len(path), len(_SHOWN) - 1)]
    for name, size, number in ranked.head(most).iter_rows():
        here = (*path, name or "")
        made.append(Box(here, float(size), float(number)))
        made += _under(here, rows.filter(pl.col(levels[0]).eq_missing(pl.lit(name))), levels[1:], value, count)
    rest = ranked.slice(most)
    if rest.height:
        made.append(Box((*path, f"{rest.height} more"), float(rest[value].sum()), float(rest[count].sum())))
    return made


def icicle(
    found: Sequence[Box], whole: str, unit: str, colour: Callable[[Box], str], counted: str, height: int = 360
) -> go.Figure:
    """The boxes as an icicle, the whole on top.

    Args:
        whole: what the whole is.
        unit: of the values.
        counted: what the counts are of.
    """
    if not found or not found[0].value:
        return figure(height)
    total = found[0].value
    box = go.Icicle(
        ids=[_identity(each.path) for each in found],
        labels=[_name(each, each.value / total) if each.path else whole for each in found],
        parents=[_identity(each.path[:-1]) if each.path else "" for each in found],
        values=[each.value for each in found],
        branchvalues="total",
        # Paler ends would be darker ends on a dark page, with letters made for the full colour.
        leaf={"opacity": 1},
        tiling={"orientation": "v"},
        marker={
            "colors": [colour(each) if each.path else palette.TOTAL for each in found],
            "line": {"width": 1, "color": "#FFF"},
        },
        hovertext=[
            f"{each.value:,.3f} {unit}, {each.value / total:.1%} of {whole}<br>{each.count:,.0f} {counted}" for each in found
        ],
        texttemplate="%{label}<br>%{value:,.2f} " + unit,
        hovertemplate="%{hovertext}<extra></extra>",
        sort=True,
        pathbar={"visible": False},
    )
    return figure(height, box, uniformtext={"minsize": 11, "mode": "hide"})


def _name(box: Box, share: float) -> str:
    return label(box.path[-1] or "not known", max(4, int(_LETTERS * share)))


def _identity(path: tuple[str, ...]) -> str:
    return "\x1f".join(("whole", *path))

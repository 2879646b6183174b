"""On which side of its point a name of a scatter stands, so that it covers neither a point nor another name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Pixels of a letter and of a line at 13 px, and between a point and its name.
_LETTER, _LINE, _GAP = 7.3, 15.0, 3.0
_SIDES = {"top center": (0, 1), "middle right": (1, 0), "middle left": (-1, 0), "bottom center": (0, -1)}
Box = tuple[float, float, float, float]
"""Left, right, lower and upper edge."""


@dataclass(frozen=True)
class Point:
    """A point of a figure, in pixels from its lower left corner: where, how far it reaches, and what its name is."""

    x: float
    y: float
    reach: float
    name: str


def sides(points: Sequence[Point], width: float, height: float, lines: Sequence[Box] = ()) -> list[str]:
    """Plotly's `textposition` of each point, "" where its name would cover something; the first points choose first.

    Args:
        width, height: of the figure in pixels; a name does not leave it.
        lines: what else is not to be covered.
    """
    covered = [_around(point) for point in points]
    found = []
    for index, point in enumerate(points):
        taken = [*lines, *(box for other, box in enumerate(covered) if other != index)]
        free = (name for name in _SIDES if _fits(box_of(point, name), taken, width, height))
        chosen = next(free, "")
        if chosen:
            covered.append(box_of(point, chosen))
        found.append(chosen)
    return found


def box_of(point: Point, side: str) -> Box:
    """Left, right, lower and upper edge of a name on a side of its point."""
    across, up = _SIDES[side]
    wide, high = _LETTER * len(point.name) / 2, _LINE / 2
    x = point.x + across * (point.reach + _GAP + wide)
    y = point.y + up * (point.reach + _GAP + high)
    return x - wide, x + wide, y - high, y + high


def _around(point: Point) -> Box:
    return point.x - point.reach, point.x + point.reach, point.y - point.reach, point.y + point.reach


def _fits(box: Box, taken: Sequence[Box], width: float, height: float) -> bool:
    left, right, low, high = box
    inside = left >= 0 and right <= width and low >= 0 and high <= height
    return inside and not any(left < other[1] and other[0] < right and low < other[3] and other[2] < high for other in taken)

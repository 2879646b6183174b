"""Points of two measures, numbered, with the front that no other point beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiler.metrics.sweep_front import front
from profiler.report.html_svg import WIDTH, ink, svg, tick_texts, ticks, words
from profiler.report.html_tags import Html, joined, tag

_LEFT, _TOP, _BOTTOM, _HEIGHT, _RADIUS = 62.0, 16.0, 316.0, 360.0, 9.0


@dataclass(frozen=True)
class Point:
    """One point: the number in it, what it says when one points at it, and whether it is ringed."""

    number: int
    x: float
    y: float
    colour: str
    note: str
    ringed: bool = False


@dataclass(frozen=True)
class _Axes:
    """The limits of both axes."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        """In px."""
        return _LEFT + (WIDTH - _LEFT) * (value - self.left) / ((self.right - self.left) or 1.0)

    def y(self, value: float) -> float:
        """In px."""
        return _BOTTOM - (_BOTTOM - _TOP) * (value - self.low) / ((self.high - self.low) or 1.0)


def points(every: Sequence[Point], x_title: str, y_title: str) -> Html:
    """All points, and a line through those that no other beats in both; less is better, and no axis need begin at 0."""
    if not every:
        return joined()
    axes = _Axes(*_room([each.x for each in every]), *_room([each.y for each in every]))
    # As stairs: between two points of the line nothing was measured.
    best = sorted((every[place] for place in front([(each.x, each.y) for each in every])), key=lambda each: each.x)
    stairs = "".join(f"H{axes.x(each.x):.1f}V{axes.y(each.y):.1f}" for each in best[1:])
    line = f"M{axes.x(best[0].x):.1f} {axes.y(best[0].y):.1f}{stairs}"
    drawn = [_point(axes, each) for each in sorted(every, key=lambda each: each.ringed)]
    about = f"{y_title} against {x_title}"
    return svg(_HEIGHT, about, _grid(axes, x_title, y_title), tag("path", d=line, class_="front"), *drawn)


def _room(values: Sequence[float]) -> tuple[float, float]:
    """Limits around values, with room for the points themselves."""
    low, high = min(values), max(values)
    more = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return max(0.0, low - more), high + more


def _point(axes: _Axes, each: Point) -> Html:
    x, y = axes.x(each.x), axes.y(each.y)
    ring = "var(--ink)" if each.ringed else "var(--ground)"
    circle = tag("circle", tag("title", each.note), cx=x, cy=y, r=_RADIUS, fill=each.colour, stroke=ring, stroke_width="1.5")
    number = words(x, y + 4, str(each.number), anchor="middle", fill=ink(each.colour), class_="small", pointer_events="none")
    return joined(circle, number)


def _grid(axes: _Axes, x_title: str, y_title: str) -> Html:
    across, up = ticks(axes.left, axes.right, 8), ticks(axes.low, axes.high, 5)
    lines = [tag("path", d=f"M{axes.x(each):.1f} {_TOP:.0f}V{_BOTTOM:.0f}", class_="grid") for each in across]
    lines += [tag("path", d=f"M{_LEFT:.0f} {axes.y(each):.1f}H{WIDTH:.0f}", class_="grid") for each in up]
    for each, shown in zip(across, tick_texts(across), strict=True):
        lines.append(words(axes.x(each), _BOTTOM + 15, shown, anchor="middle", class_="tick"))
    for each, shown in zip(up, tick_texts(up), strict=True):
        lines.append(words(_LEFT - 7, axes.y(each) + 4, shown, anchor="end", class_="tick"))
    middle = (_TOP + _BOTTOM) / 2
    return joined(
        *lines,
        words((_LEFT + WIDTH) / 2, _BOTTOM + 34, x_title, anchor="middle", class_="axis"),
        words(14, middle, y_title, anchor="middle", class_="axis", transform=f"rotate(-90 14 {middle:.1f})"),
    )

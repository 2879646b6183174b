"""Memory over time: one area a label, stacked, with the windows as bands and the peak marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiler.report.html_svg import LETTER, WIDTH, box, fitted, svg, words, x_axis, y_axis
from profiler.report.html_tags import Html, coordinate, joined, tag

_LEFT, _TOP, _AXIS = 62.0, 24.0, 44.0


@dataclass(frozen=True)
class Area:
    """One label: its values in the axis' unit, one a time; each holds until the next."""

    name: str
    colour: str
    values: Sequence[float]


@dataclass(frozen=True)
class Band:
    """A window of the call, in the times of the axis."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Mark:
    """A moment: the highest, or where it ended."""

    time: float
    value: float
    text: str


@dataclass(frozen=True)
class Plot:
    """Where times and values lie on the figure."""

    last: float
    highest: float
    height: float

    def x(self, time: float) -> float:
        """Of a time."""
        return _LEFT + (WIDTH - _LEFT) * (min(max(time, 0.0), self.last) / (self.last or 1.0))

    def y(self, value: float) -> float:
        """Of a value."""
        return self.bottom - (self.bottom - _TOP) * (value / (self.highest or 1.0))

    @property
    def bottom(self) -> float:
        """Of the value 0."""
        return self.height - _AXIS


def stacked(
    times: Sequence[float],
    areas: Sequence[Area],
    bands: Sequence[Band],
    marks: Sequence[Mark],
    unit: str,
    about: str,
    height: float,
) -> Html:
    """Areas one upon the other over ms."""
    sums = [sum(values) for values in zip(*(each.values for each in areas), strict=True)]
    plot = Plot(times[-1] if times else 0.0, max([*sums, *(each.value for each in marks)], default=0.0) * 1.12, height)
    below, drawn = [0.0] * len(times), []
    for each in areas:
        above = [low + value for low, value in zip(below, each.values, strict=True)]
        drawn.append(_area(plot, times, below, above, each))
        below = above
    axes = joined(
        y_axis(_LEFT, WIDTH, _TOP, plot.bottom, (0.0, plot.highest), unit),
        x_axis(_LEFT, WIDTH, plot.bottom, plot.bottom + 4, plot.last, "ms since the first event"),
    )
    tinted = [_band(plot, number, each) for number, each in enumerate(bands)]
    return svg(height, about, *tinted, *drawn, axes, *(_mark(plot, each) for each in marks))


def _area(plot: Plot, times: Sequence[float], below: Sequence[float], above: Sequence[float], of: Area) -> Html:
    points = _steps(plot, times, above)
    back = _steps(plot, times, below)[::-1]
    path = "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in [*points, *back]) + "Z"
    return tag("path", tag("title", of.name), d=path, fill=of.colour, stroke=of.colour, class_="area")


def _steps(plot: Plot, times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """Corners of what holds from each time until the next; those that no screen shows are left out."""
    corners: list[tuple[float, float]] = []
    for time, value in zip(times, values, strict=True):
        x, y = round(plot.x(time), 1), round(plot.y(value), 1)
        if corners and y == corners[-1][1]:
            continue
        corners += [(x, corners[-1][1])] if corners else []
        corners.append((x, y))
    return [*corners, (WIDTH, corners[-1][1])] if corners else []


def _band(plot: Plot, number: int, each: Band) -> Html:
    left, right = plot.x(each.start), plot.x(each.end)
    tint = box(left, _TOP, right - left, plot.bottom - _TOP, "#7A8794", each.name, fill_opacity="0.16" if number % 2 else "0.07")
    name = fitted(each.name, right - left + 6) if len(each.name) * LETTER < right - left else ""
    return joined(tint, words(left + 4, _TOP - 8, name, class_="tick") if name else None)


def _mark(plot: Plot, mark: Mark) -> Html:
    x, y = plot.x(mark.time), plot.y(mark.value)
    before = x > WIDTH / 2
    point = tag("path", d=f"M{x - 5:.1f} {y - 9:.1f}h10l-5 8z", class_="peak")
    place = {"x": x - 9 if before else x + 9, "y": y - 3}
    return joined(point, words(place["x"], place["y"], mark.text, anchor="end" if before else "start", class_="strong"))

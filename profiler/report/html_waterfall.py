"""Waterfalls: from the base's sum to the new one, one bar a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiler.core import palette
from profiler.report.compare_words import signed
from profiler.report.html_svg import WIDTH, box, svg, words, y_axis
from profiler.report.html_tags import Html, joined, tag
from profiler.report.names import shorten

_LEFT, _TOP, _BOTTOM, _HEIGHT = 62.0, 22.0, 262.0, 320.0
_LEAST_SHARE = 5e-4


@dataclass(frozen=True)
class Change:
    """What one part was in the base and is in the new run, in one unit."""

    name: str
    base: float
    new: float


def waterfall(changes: Sequence[Change], unit: str, title: str) -> Html:
    """The base, one bar a change that can be seen, biggest first, the new run. Bars begin at 0: others lie about their length."""
    first, last = sum(each.base for each in changes), sum(each.new for each in changes)
    steps = _steps(changes, first, last)
    levels = _levels(first, steps)
    highest = max([first, last, *(end for _, end in levels)]) * 1.08
    plot = _Plot(highest, (WIDTH - _LEFT) / (len(steps) + 2))
    drawn = [plot.bar(0, "base", (0.0, first), palette.TOTAL, f"{first:,.2f}", f"base: {first:,.3f} {unit}")]
    for place, (each, (start, end)) in enumerate(zip(steps, levels, strict=True), 1):
        colour = palette.FASTER if end < start else palette.SLOWER
        note = f"{each.name}: {each.base:,.3f} to {each.new:,.3f} {unit}"
        drawn.append(plot.bar(place, each.name, (start, end), colour, signed(end - start, 2), note))
    drawn.append(plot.bar(len(steps) + 1, "new", (0.0, last), palette.TOTAL, f"{last:,.2f}", f"new: {last:,.3f} {unit}"))
    axis = y_axis(_LEFT, WIDTH, _TOP, _BOTTOM, (0.0, highest), f"{title}, {unit}")
    ground = tag("path", d=f"M{_LEFT:.0f} {_BOTTOM:.0f}H{WIDTH:.0f}", class_="ground")
    return svg(_HEIGHT, f"{title}: from {first:,.3f} to {last:,.3f} {unit}", axis, *drawn, ground)


@dataclass(frozen=True)
class _Plot:
    """Where bars lie: the highest value, px a bar."""

    highest: float
    wide: float

    def bar(self, place: int, name: str, ends: tuple[float, float], colour: str, shown: str, note: str) -> Html:
        """One bar with its number above and its name below."""
        scale = (_BOTTOM - _TOP) / (self.highest or 1.0)
        left, top = _LEFT + place * self.wide, _BOTTOM - max(ends) * scale
        middle = left + self.wide / 2
        drawn = box(left + self.wide * 0.14, top, self.wide * 0.72, max(abs(ends[1] - ends[0]) * scale, 1.0), colour, note)
        lines = [words(middle, top - 6, shown, anchor="middle", class_="value")]
        for number, line in enumerate(_lines(name, self.wide)):
            lines.append(words(middle, _BOTTOM + 17 + 15 * number, line, anchor="middle", class_="small"))
        return joined(drawn, *lines)


def _steps(changes: Sequence[Change], first: float, last: float) -> list[Change]:
    """Changes biggest first; those too small to be seen are one, where together they can be."""
    seen = [each for each in changes if abs(each.new - each.base) > _LEAST_SHARE * max(first, last)]
    rest = (last - first) - sum(each.new - each.base for each in seen)
    ordered = sorted(seen, key=lambda each: -abs(each.new - each.base))
    return [*ordered, Change("all others", 0.0, rest)] if abs(rest) > 0.005 else ordered


def _levels(first: float, steps: Sequence[Change]) -> list[tuple[float, float]]:
    """Where each change begins and ends."""
    found, level = [], first
    for each in steps:
        found.append((level, level + each.new - each.base))
        level += each.new - each.base
    return found


def _lines(name: str, wide: float) -> list[str]:
    """A name in at most three lines of words."""
    room = max(6, int(wide / 6.2))
    lines = [""]
    for word in name.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [shorten(each, room) for each in lines[:3]]

"""Bars: a window as one stacked bar, rows one under the other with a mark on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profiler.report.html_svg import LETTER, WIDTH, box, fitted, ink, svg, words, x_axis
from profiler.report.html_tags import Html, joined, tag

_BAR, _ROW, _AXIS = 56.0, 26.0, 44.0
_NAMES = 190.0


@dataclass(frozen=True)
class Segment:
    """One part of a stacked bar: its length in the axis' unit, and what it says when one points at it."""

    name: str
    value: float
    colour: str
    note: str
    hatched: bool = False


def stacked(segments: Sequence[Segment], unit: str, about: str) -> Html:
    """One bar of all segments, one after the other, over an axis of `unit`."""
    whole = sum(each.value for each in segments)
    scale = WIDTH / whole if whole else 0.0
    shown, x = [], 0.0
    for each in segments:
        shown.append(_segment(each, x, each.value * scale))
        x += each.value * scale
    # The axis lies behind; its last number must not be cut.
    axis = x_axis(0.0, WIDTH, _BAR, _BAR + 5, whole, unit)
    return svg(_BAR + _AXIS, about, axis, *shown)


def _segment(each: Segment, x: float, width: float) -> Html:
    name = fitted(each.name, width)
    number = f"{each.value:,.1f}"
    inside = ink(each.colour)
    drawn = box(x, 0.0, width, _BAR, each.colour, each.note, each.hatched)
    if each.hatched or (len(number) * LETTER > width - 6):
        return drawn
    lines = [words(x + width / 2, 25 if name else 33, number, anchor="middle", fill=inside, class_="value")]
    lines += [words(x + width / 2, 42, name, anchor="middle", fill=inside, class_="small")] if name else []
    return joined(drawn, *lines)


@dataclass(frozen=True)
class Bar:
    """One row: what is drawn solid, what is drawn faint behind it, where its mark stands (None: none), what stands beside it."""

    name: str
    value: float
    colour: str
    beside: str
    note: str
    faint: float | None = None
    mark: float | None = None


def rows(bars: Sequence[Bar], unit: str, about: str) -> Html:
    """Bars one under the other, names at the left, over an axis of `unit`."""
    room = max((len(each.beside) for each in bars), default=0) * LETTER + 16
    right = WIDTH - room
    highest = max((max(each.value, each.faint or 0.0, each.mark or 0.0) for each in bars), default=0.0)
    bottom = _ROW * len(bars)
    axis = x_axis(_NAMES, right, 0.0, bottom, highest, unit)
    drawn = [_row(each, number * _ROW, (right - _NAMES) / highest if highest else 0.0) for number, each in enumerate(bars)]
    return svg(bottom + _AXIS, about, axis, *drawn)


def _row(each: Bar, top: float, scale: float) -> Html:
    middle = top + _ROW / 2
    faint = each.faint or 0.0
    end = _NAMES + max(each.value, faint, each.mark or 0.0) * scale
    parts = [words(_NAMES - 10, middle + 4, fitted(each.name, _NAMES - 6), anchor="end", class_="name")]
    if faint:
        parts.append(box(_NAMES, top + 4, faint * scale, _ROW - 8, each.colour, each.note, fill_opacity="0.35"))
    parts.append(box(_NAMES, top + 4, each.value * scale, _ROW - 8, each.colour, each.note))
    if each.mark is not None:
        parts.append(tag("path", d=f"M{_NAMES + each.mark * scale:.1f} {top + 1:.1f}v{_ROW - 2:.0f}", class_="mark"))
    parts.append(words(end + 8, middle + 4, each.beside, class_="beside"))
    return joined(*parts)

"""What all figures of the HTML report share: size, axes with units, text that fits, bars with a note on hovering."""

from __future__ import annotations

import math

from profiler.report.html_tags import Html, Inside, joined, tag
from profiler.report.names import shorten

WIDTH = 1120.0
# Figures are drawn at this width and scaled to the page; letters of 12 px are at most about this wide.
LETTER = 7.0
_DARK, _LIGHT = "#10151C", "#FFFFFF"
HATCH = "hatch"


def svg(height: float, about: str, *inside: Inside) -> Html:
    """A figure; `about` says what it shows, for who cannot see it."""
    return tag("svg", *inside, viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", aria_label=about, class_="figure")


def definitions() -> Html:
    """What figures refer to, once a page: the hatching of idle time."""
    line = tag("path", d="M-1 7L7 -1M-1 13L13 -1", stroke="#FFFFFF", stroke_opacity="0.55", stroke_width="1.4")
    pattern = tag("pattern", line, id=HATCH, width="6", height="6", patternUnits="userSpaceOnUse")
    return tag("svg", tag("defs", pattern), width="0", height="0", class_="definitions", aria_hidden="true")


def words(x: float, y: float, shown: str, **more: object) -> Html:
    """A line of text; `anchor` and `class_` as SVG has them."""
    anchor = more.pop("anchor", None)
    return tag("text", shown, x=x, y=y, text_anchor=anchor, **more)


def box(x: float, y: float, width: float, height: float, colour: str, note: str, hatched: bool = False, **more: object) -> Html:
    """A filled rectangle that says what it is when one points at it; hatched over its colour where it is idle time."""
    size: dict[str, object] = {"x": x, "y": y, "width": max(width, 0.0), "height": height}
    plain = tag("rect", fill=colour, class_="box", **size, **more)
    over = tag("rect", fill=f"url(#{HATCH})", **size) if hatched else None
    return tag("g", tag("title", note), plain, over)


def fitted(shown: str, width: float) -> str:
    """The text as far as it fits into a width in px; empty where that says nothing."""
    room = int((width - 9) / LETTER)
    return "" if room < 8 and len(shown) > room else shorten(shown, room)


def whole(shown: str, width: float) -> str:
    """The text where all of it fits: half a number is another number."""
    return shown if len(shown) * LETTER <= width - 9 else ""


def ink(colour: str) -> str:
    """Black or white: what reads better on a colour."""
    light = luminance(colour)
    return _DARK if (light + 0.05) / (luminance(_DARK) + 0.05) > 1.05 / (light + 0.05) else _LIGHT


def luminance(colour: str) -> float:
    """Relative luminance of `#RRGGBB`, 0 to 1."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ticks(lowest: float, highest: float, about: int) -> list[float]:
    """Round numbers from `lowest` to `highest`, about so many."""
    if not highest > lowest:
        return [lowest]
    rough = (highest - lowest) / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= rough * 0.999)
    first = math.ceil(lowest / step - 1e-9)
    return [each * step for each in range(first, math.floor(highest / step + 1e-9) + 1)]


def tick_texts(values: list[float]) -> list[str]:
    """The numbers at an axis, all with as many decimals as their distance needs."""
    step = abs(values[1] - values[0]) if len(values) > 1 else abs(values[0]) or 1.0
    decimals = next((each for each in range(7) if abs(round(step, each) - step) < step * 1e-6), 7)
    return [f"{each:,.{decimals}f}" for each in values]


def x_axis(left: float, right: float, top: float, bottom: float, highest: float, title: str) -> Html:
    """Grid, numbers and title of a horizontal axis from 0 to `highest`."""
    values = ticks(0.0, highest, 8)
    places = [left + (right - left) * (each / highest if highest else 0.0) for each in values]
    lines = [tag("path", d=f"M{x:.1f} {top:.1f}V{bottom:.1f}", class_="grid") for x in places]
    numbers = [
        words(x, bottom + 15, shown, anchor="middle", class_="tick") for x, shown in zip(places, tick_texts(values), strict=True)
    ]
    return joined(*lines, *numbers, words((left + right) / 2, bottom + 33, title, anchor="middle", class_="axis"))


def y_axis(left: float, right: float, top: float, bottom: float, limits: tuple[float, float], title: str) -> Html:
    """The same for a vertical axis between two limits."""
    lowest, highest = limits
    values = ticks(lowest, highest, 5)
    places = [bottom - (bottom - top) * ((each - lowest) / (highest - lowest or 1.0)) for each in values]
    lines = [tag("path", d=f"M{left:.1f} {y:.1f}H{right:.1f}", class_="grid") for y in places]
    numbers = [
        words(left - 7, y + 4, shown, anchor="end", class_="tick") for y, shown in zip(places, tick_texts(values), strict=True)
    ]
    middle = (top + bottom) / 2
    return joined(
        *lines, *numbers, words(14, middle, title, anchor="middle", class_="axis", transform=f"rotate(-90 14 {middle:.1f})")
    )

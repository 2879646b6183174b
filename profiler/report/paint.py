"""Colours for text reports on a terminal: classes, categories, causes of idle time and severities as the pages show them.

It works on finished text, so that no renderer's widths know of colours, and nothing in a name can become an escape sequence.
"""

from __future__ import annotations

import re

from rich.text import Text

from profiler.core import palette
from profiler.report.html_svg import luminance

_BARS = "▁▂▃▄▅▆▇█▏▎▍▌▋▊▉"
_NAMES = {**palette.CLASSES, **palette.CATEGORIES, **palette.COMPONENTS}
_ANY = "|".join(re.escape(name) for name in sorted(_NAMES, key=lambda name: -len(name)))
# A name is a cell of a table: two spaces or the line's end on either side. In a sentence it stands before its number.
_CELL = re.compile(rf"(?:^|(?<=  ))({_ANY})(?=  |$)", re.MULTILINE)
_SIZED = re.compile(rf"(?<![\w.-])({_ANY})(?= \d[\d,]*\.\d)")
# What an allocation is begins with its category.
_KIND = re.compile(rf"(?<=  )({'|'.join(palette.CATEGORIES)})(?= \w)")
# A row of the ledger says that it is idle.
_IDLE = re.compile(r"^(\S.*?) +idle(?=  )", re.MULTILINE)
_SEVERITY = re.compile(rf"\[({'|'.join(palette.SEVERITIES)})\]$", re.MULTILINE)
_BAR = re.compile(rf"[{_BARS}]+")
# Letters darker than this cannot be read on a dark ground.
_LEAST_LIGHT = 0.17


def painted(text: str) -> Text:
    """The text of a report with every label, and the bar in its line, in the label's colour."""
    made = Text(text)
    for match in _SEVERITY.finditer(text):
        made.stylize(f"bold {palette.of_severity(match[1])}", *match.span())
    for match in _IDLE.finditer(text):
        _paint(made, text, match.start(1), match.end(1), palette.of_idle(match[1]))
    for match in _CELL.finditer(text):
        _paint(made, text, match.start(1), match.end(1), _NAMES[match[1]])
    for pattern in (_SIZED, _KIND):
        for match in pattern.finditer(text):
            made.stylize(lettered(_NAMES[match[1]]), *match.span(1))
    return made


def lettered(colour: str) -> str:
    """A colour for letters: itself, or as much lighter as it takes to be read."""
    channels = [float(int(colour[place : place + 2], 16)) for place in (1, 3, 5)]
    for _ in range(20):
        shown = "#" + "".join(f"{round(each):02X}" for each in channels)
        if luminance(shown) >= _LEAST_LIGHT:
            break
        channels = [each + (255 - each) * 0.06 for each in channels]
    return shown


def _paint(made: Text, text: str, start: int, end: int, colour: str) -> None:
    """A label and the bars behind it in its line."""
    made.stylize(lettered(colour), start, end)
    stop = text.find("\n", end)
    for bar in _BAR.finditer(text, end, stop if stop >= 0 else len(text)):
        made.stylize(colour, *bar.span())

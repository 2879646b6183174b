"""Rich tables as plain text of a given width."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from profiler.core.printable import one_line, printable

MIN_WIDTH, MAX_WIDTH = 80, 120
_EIGHTHS = " ▏▎▍▌▋▊▉"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], width: int, left: Sequence[int] = (0,)) -> str:
    """A table without frames.

    Args:
        left: the columns that are text; the others are numbers, aligned to the right.
    """
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, header in enumerate(headers):
        grid.add_column(header, justify="left" if index in left else "right", no_wrap=True, overflow="ellipsis")
    for row in rows:
        grid.add_row(*(Text(printable(one_line(cell))) for cell in row))
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, legacy_windows=False).print(grid)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip("\n").split("\n"))


def bar(share: float, width: int = 12) -> str:
    """A share of 1 as a bar of `width` characters."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def number(value: float | None, decimals: int = 1) -> str:
    """A number with thousands separators; `-` where there is none."""
    return "-" if value is None else f"{value:,.{decimals}f}"


def percent(share: float | None) -> str:
    """A share of 1 in percent."""
    return "-" if share is None else f"{share * 100:.1f}"

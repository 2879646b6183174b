"""Text on a terminal: labels in their colours, where colours are wanted."""

from __future__ import annotations

import os
import sys


def show(text: str) -> None:
    """Print the text of a report; a pipe, a file and a terminal under NO_COLOR get it plain."""
    if not coloured():
        print(text)
        return
    from rich.console import Console

    from profiler.report.paint import painted

    Console(highlight=False).print(painted(text), soft_wrap=True)


def coloured() -> bool:
    """Whether stdout is a terminal whose user did not refuse colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

"""A line on stderr: which shape, how far, how long still."""

from __future__ import annotations

import sys
import time
from typing import IO

from profiler.core.gone import let_go

_WIDTH = 24
_EVERY_S = 0.2


class Progress:
    """Counts units of work over all shapes.

    Args:
        total: units in all.
        file: where the line goes; on a terminal it is drawn over, elsewhere only whole shapes are told.
    """

    def __init__(self, total: int, file: IO[str] | None = None) -> None:
        self._total, self._file = max(1, total), file or sys.stderr
        self._done, self._start, self._drawn = 0, time.monotonic(), 0.0
        self._label = ""

    def label(self, text: str) -> None:
        """What is worked on now."""
        self._label = text
        self._draw()

    def advance(self) -> None:
        """One unit is done."""
        self._done = min(self._done + 1, self._total)
        if time.monotonic() - self._drawn > _EVERY_S:
            self._draw()

    def tell(self, text: str) -> None:
        """A line that stays."""
        self._write(("\r\x1b[K" if self._file.isatty() else "") + text + "\n")

    def line(self) -> str:
        """The bar, the share, the time left."""
        share = self._done / self._total
        filled = round(share * _WIDTH)
        return f"{self._label}  [{'#' * filled}{'.' * (_WIDTH - filled)}] {share:4.0%}  {self._left(share)}"

    def _left(self, share: float) -> str:
        if share == 0.0:
            return "time left unknown"
        left = (time.monotonic() - self._start) * (1 - share) / share
        return f"{left:.0f} s left" if left < 90 else f"{left / 60:.0f} min left"

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._file.isatty():
            self._write("\r\x1b[K" + self.line())

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except BrokenPipeError:
            # Minutes of measuring do not end because nobody looks.
            let_go(self._file)

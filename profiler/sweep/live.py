"""The live table on a terminal; elsewhere a line for each cell that begins and ends."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from profiler.core.gone import let_go
from profiler.core.printable import printable
from profiler.sweep.cells import FAILED, INTERRUPTED, OK, OOM, QUEUED, REFUSED, RUNNING, TIMEOUT, Cell
from profiler.sweep.forecast import left_s
from profiler.sweep.times import call_times

_COLORS = {OK: "green", RUNNING: "cyan", OOM: "red", FAILED: "red", TIMEOUT: "red", REFUSED: "yellow", INTERRUPTED: "yellow"}
_EVERY_S = 0.5
_WAITS = "no worker is there: waiting for one to join"


class LiveView:
    """Shows a sweep on stderr; a context manager.

    Args:
        path: the sweep's folder.
        steps: what the answer's times are for.
        console: a rich console, for tests.
    """

    def __init__(self, path: Path, steps: int | None, console: Any = None) -> None:
        from rich.live import Live

        self._path, self._steps = path, steps
        self._console = console or _stderr()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._drawn = 0.0
        self._waits = False
        # A manifest is read once a run, and not at each drawing.
        self._calls: dict[tuple[str, int | None], str] = {}

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            # The terminal may be gone.
            with contextlib.suppress(OSError):
                self._live.stop()

    def tell(self, cell: Cell) -> None:
        """A line for a cell that began or ended, where there is no table."""
        if self._live is None:
            self._console.print(printable(f"{cell.id}: {self._ending(cell)}"), markup=False, soft_wrap=True)
        self._drawn = 0.0

    def show(self, cells: list[Cell], slots: int) -> None:
        """Draw the table anew, at most twice a second; where there is none, a line when the last worker is gone."""
        if self._live is None:
            self._tell_waiting(waits(cells, slots))
            return
        if time.monotonic() - self._drawn < _EVERY_S:
            return
        self._drawn = time.monotonic()
        self._live.update(self.table(cells, slots), refresh=True)

    def table(self, cells: list[Cell], slots: int) -> Any:
        """The rich table: the cells that fit on the screen, the running ones always, and how long still."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, caption=progress(cells, slots), caption_justify="left", caption_style="")
        for name, justify in (("cell", "left"), ("status", "left"), ("seconds", "right"), ("a call", "right"), ("", "left")):
            table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
        for cell in _shown(cells, max(5, self._console.height - 4)):
            status = Text(cell.status, style=_COLORS.get(cell.status, "dim"))
            note = Text(printable(cell.reason or cell.worker or ""))
            table.add_row(Text(cell.id), status, _seconds(cell), self._call(cell), note)
        return table

    def _tell_waiting(self, waits: bool) -> None:
        if waits and not self._waits:
            self._console.print(_WAITS, markup=False, soft_wrap=True)
        self._waits = waits

    def _ending(self, cell: Cell) -> str:
        if cell.status == RUNNING:
            return f"running on {cell.worker}"
        call, why, seconds = self._call(cell), cell.reason, _seconds(cell)
        took = (f", {seconds} s" if seconds else "") + (f", {call} a call" if call else "")
        return f"{cell.status}{took}" + (f": {why}" if why else "")

    def _call(self, cell: Cell) -> str:
        key = (cell.id, cell.began_ns)
        if cell.status == OK and key not in self._calls:
            # A run that can no more be read has no time here; the answer says why.
            (found,) = call_times(self._path, [replace(cell)], self._steps)
            self._calls[key] = "" if found is None else str(found)
        return self._calls.get(key, "")


def _stderr() -> Any:
    """A console on stderr. Where its reader is gone it is quiet; rich's own would end the process, and take stdout with it."""
    from rich.console import Console

    class Lasting(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            let_go(self.file)

    return Lasting(stderr=True, highlight=False)


def waits(cells: list[Cell], slots: int) -> bool:
    """Whether cells are left, and no worker is there to take one."""
    return not slots and any(each.status == QUEUED for each in cells)


def progress(cells: list[Cell], slots: int) -> str:
    """How many cells are done, and how long the others will take, or that they wait."""
    now = time.time_ns()
    running = {each.id: (now - (each.began_ns or now)) / 1e9 for each in cells if each.status == RUNNING}
    done = sum(1 for each in cells if each.status not in (QUEUED, RUNNING))
    left = _WAITS if waits(cells, slots) else _left(left_s(cells, running, slots))
    return f"{done} of {len(cells)} done, {left}"


def _left(left: float | None) -> str:
    if left is None:
        return "time left unknown"
    return f"about {left:.0f} s left" if left < 90 else f"about {left / 60:.0f} min left"


def _seconds(cell: Cell) -> str:
    if cell.status == RUNNING and cell.began_ns:
        return f"{(time.time_ns() - cell.began_ns) / 1e9:.0f}"
    return "" if cell.seconds is None else f"{cell.seconds:.1f}"


def _shown(cells: list[Cell], rows: int) -> list[Cell]:
    """The cells around those that run: what ended last, what comes next."""
    if len(cells) <= rows:
        return cells
    active = [index for index, each in enumerate(cells) if each.status in (RUNNING, QUEUED)]
    first = active[0] if active else len(cells)
    start = max(0, min(first - rows // 2, len(cells) - rows))
    return cells[start : start + rows]

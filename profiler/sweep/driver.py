"""The driver: gives cells to an executor in order, seals what comes back, and keeps the folder true at every moment."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from profiler.sweep.cells import FAILED, INTERRUPTED, OK, QUEUED, REFUSED, RUNNING, TIMEOUT, Cell
from profiler.sweep.executors.base import Ended, Executor
from profiler.sweep.folder import SweepFolder, interrupted
from profiler.sweep.forecast import needed_s
from profiler.sweep.refusals import refuse
from profiler.sweep.work import CHILD, Task

# How often a cell is started before its losses are its result.
_ATTEMPTS = 3
_POLL_S = 0.3
# Ctrl-C, a time limit, a terminal that is closed.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds that a stopped cell may take to seal its run; the executor kills what takes longer.
_STOP_S = 60.0


# Of a disk that is full, or of as much as this user may have of it.
FULL = (errno.ENOSPC, errno.EDQUOT)


class View(Protocol):
    """Who watches a sweep."""

    def show(self, cells: list[Cell], slots: int) -> None:
        """Called a few times a second."""

    def tell(self, cell: Cell) -> None:
        """Called when a cell has begun or ended."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`cell_s`: seconds of one cell; `all_s`: seconds of the sweep from now on, None for no limit."""

    cell_s: float = 900.0
    all_s: float | None = None


class Driver:
    """Runs the queued cells of a folder.

    Args:
        folder: begun, so that its cells are known.
        command_of: the command line that would record a cell by itself.
        child: the module that records; another one in tests.
    """

    def __init__(
        self,
        folder: SweepFolder,
        executor: Executor,
        view: View,
        limits: Limits,
        command_of: Callable[[Cell], str],
        cache: str = "shared",
        child: str = CHILD,
    ) -> None:
        self._folder, self._executor, self._view, self._limits = folder, executor, view, limits
        self._command_of, self._cache, self._child = command_of, cache, child
        self._running: dict[str, Cell] = {}
        self._queue: deque[Cell] = deque()
        self._mark = f"{hashlib.sha256(str(folder.path.absolute()).encode()).hexdigest()[:12]}/{time.time_ns()}"
        self._asked_to_stop = False
        self._stopping = False
        # Whether a cell has ended in this call: the first ones wait for the imports.
        self._warm = False
        self._deadline = float("inf") if limits.all_s is None else time.monotonic() + limits.all_s

    def run(self) -> str:
        """Run until every cell has a result, the time is over, or someone says stop; the sweep's status: ok or interrupted."""
        self._refuse_here()
        with self._signals():
            self._queue = deque(each for each in self._folder.cells if each.status == QUEUED)
            while not self._asked_to_stop and (self._queue or self._running):
                slots = self._executor.slots()
                self._start_what_fits(slots)
                if self._is_over(slots):
                    self._tell_what_does_not_fit(slots)
                    break
                self._collect(_POLL_S)
            self._wind_down()
        return self._close()

    def _refuse_here(self) -> None:
        """Ask a worker what it refuses before anything loads; nothing to ask where all is done."""
        cells = [each for each in self._folder.cells if each.status == QUEUED]
        for cell, why in zip(cells, self._executor.probe([each.spec.to_dict() for each in cells]) if cells else [], strict=True):
            refuse(cell, why)
        self._folder.write()

    def _start_what_fits(self, slots: int) -> None:
        """Fill the free slots with the first cells that can end in time."""
        for cell in list(self._queue):
            if len(self._running) >= slots:
                return
            if self._fits(cell):
                self._queue.remove(cell)
                self._start(cell, min(self._limits.cell_s, self._left_s()))

    def _left_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _needed_s(self, cell: Cell) -> float:
        return needed_s(cell, self._folder.cells, self._limits.cell_s, first=not self._warm)

    def _fits(self, cell: Cell) -> bool:
        """Whether a cell that begins now can end in time."""
        left = self._left_s()
        return left > 0 and self._needed_s(cell) <= left

    def _is_over(self, slots: int) -> bool:
        """Whether nothing can come of waiting: nothing runs and nothing fits, or what runs should have ended."""
        if self._running:
            # It ends itself in time; a busy cluster may not even have begun it.
            return time.monotonic() >= self._deadline + _STOP_S
        # Where there is no worker, a cell that still fits waits for one.
        return slots > 0 or not any(map(self._fits, self._queue))

    def _tell_what_does_not_fit(self, slots: int) -> None:
        """Why each cell that is left did not begin: the time that is paid for and not used must have a reason."""
        left, alone = int(self._left_s()), "" if slots else "no worker was there, "
        for cell in self._queue:
            cell.reason = f"not begun: {alone}{left} s were left, and it may take {math.ceil(self._needed_s(cell))} s"

    def _start(self, cell: Cell, limit_s: float) -> None:
        cell.status, cell.attempts, cell.began_ns = RUNNING, cell.attempts + 1, time.time_ns()
        cell.reason, cell.seconds, cell.waited_s = None, None, None
        # Written before it starts: a sweep that is killed in between counts one start too many, and never one too few.
        self._folder.write()
        self._running[cell.id] = cell
        cell.worker = self._executor.start(self._task(cell, limit_s))
        self._tell(cell)

    def _tell(self, cell: Cell) -> None:
        # Nobody may be there to listen any more.
        with contextlib.suppress(OSError):
            self._view.tell(cell)

    def _task(self, cell: Cell, limit_s: float) -> Task:
        return Task(
            id=cell.id,
            spec=cell.spec.to_dict(),
            command=self._command_of(cell),
            limit_s=limit_s,
            mark=f"{self._mark}/{cell.id}/{cell.attempts}",
            cache=self._cache,
            child=self._child,
            paths=(str(Path.cwd()),),
        )

    def _collect(self, timeout_s: float) -> None:
        for ended in self._executor.wait(timeout_s):
            cell = self._running.pop(ended.id)
            self._note(cell, ended)
            self._folder.seal(cell, ended.outcome.log if ended.outcome else "")
            self._tell(cell)
            if found_full(ended):
                # So would the next one; a cell of another machine says whose disk it is.
                raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {cell.id} on {cell.worker}")
        # Nobody may be there to look any more.
        with contextlib.suppress(OSError):
            self._view.show(self._folder.cells, self._executor.slots())

    def _note(self, cell: Cell, ended: Ended) -> None:
        """A cell's result; one whose worker was lost, or that nobody here interrupted, is queued again, next."""
        if ended.outcome is None:
            self._note_lost(cell, ended.lost or "lost")
            return
        found, self._warm = ended.outcome, True
        cell.status, cell.worker, cell.reason = found.status, found.worker, found.reason
        cell.began_ns, cell.seconds, cell.waited_s, cell.cache = found.began_ns, found.seconds, found.waited_s, found.cache
        if found_full(ended):
            cell.status = INTERRUPTED
        elif cell.status == INTERRUPTED and not self._over:
            # By its own program, or by a signal that others sent: what would have come of it is not known.
            self._note_lost(cell, f"an interruption that was not the sweep's: {found.reason or 'no word'}")
        elif cell.status == TIMEOUT and found.seconds < self._limits.cell_s:
            # It was the sweep's own time that was over: no result of this cell.
            cell.status, cell.reason = INTERRUPTED, f"the sweep's time was over after {found.seconds:.0f} s of this cell"

    @property
    def _over(self) -> bool:
        return self._asked_to_stop or self._stopping

    def _note_lost(self, cell: Cell, why: str) -> None:
        if self._over:
            cell.status, cell.reason = INTERRUPTED, "stopped" if self._asked_to_stop else "the sweep's time was over"
        elif cell.attempts >= _ATTEMPTS:
            cell.status, cell.reason = FAILED, f"lost {cell.attempts} times, the last time by {why}"
        else:
            cell.status, cell.reason = QUEUED, f"to be started again: {why}"
            self._queue.appendleft(cell)

    def _wind_down(self) -> None:
        if not self._running:
            return
        self._stopping = True
        self._executor.stop()
        deadline = time.monotonic() + _STOP_S
        while self._running and time.monotonic() < deadline:
            self._collect(_POLL_S)
        for cell in self._running.values():
            cell.status, cell.reason = INTERRUPTED, "did not end when it was stopped"

    def _close(self) -> str:
        left = interrupted(self._folder.cells)
        why = None
        if left:
            unfit = self._queue and not self._asked_to_stop
            ended = "stopped" if self._asked_to_stop else "no cell fits the time left" if unfit else "the time was over"
            why = f"{ended}, and {len(left)} of {len(self._folder.cells)} cells have no result"
        status = "interrupted" if left else OK
        self._folder.write()
        self._folder.write_manifest(status, why)
        return status

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals only ask: the loop ends the running cells between two steps, never in the middle of one."""
        # What is ignored (nohup) stays so.
        heard = [each for each in _ENDING if signal.getsignal(each) is not signal.SIG_IGN]
        before = {each: signal.signal(each, self._ask) for each in heard}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _ask(self, _signal: int, _frame: Any) -> None:
        self._asked_to_stop = True


def found_full(ended: Ended) -> bool:
    """Whether a task found no room on its disk: that says nothing of its cell."""
    found = ended.outcome
    if found is None or found.status not in (FAILED, REFUSED):
        return False
    return any(os.strerror(each) in (found.reason or "") for each in FULL)

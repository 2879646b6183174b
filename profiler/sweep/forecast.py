"""How long a cell will take, from those that have ended: for the time left, and for not starting what cannot end."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from profiler.sweep.cells import OK, QUEUED, Cell

# What is predicted holds in most cases: cells differ in compiling by far more than they repeat.
_MARGIN = 1.3
# Seconds of a cell of which nothing is known.
_UNKNOWN_S = 60.0
_EAGER = "none"


def expected_s(cell: Cell, done: Iterable[Cell]) -> float | None:
    """Seconds that a cell will take, from the most similar ones that went well; None where there is none.

    Similar is: the same compile mode, then the same scheme, then the nearest batch; seconds grow at most with the batch. What a
    cell waited for imports that later ones find done is no part of it.
    """
    known = [each for each in done if each.status == OK and each.seconds is not None and each.id != cell.id]
    for alike in (_same_mode_and_scheme, _same_mode, _any):
        found = [_scaled(cell, each) for each in known if alike(cell, each)]
        if found:
            return max(found) if alike is _same_mode else statistics.median(found)
    return None


def needed_s(cell: Cell, done: Iterable[Cell], limit_s: float, first: bool = False) -> float:
    """Seconds that must be left for a cell to start, so that it ends in most cases; of an unknown one a minute is expected.

    Args:
        limit_s: no cell runs longer.
        first: it is among the first of this call, and waits for the imports.
    """
    done = list(done)
    expected = expected_s(cell, done)
    if expected is None:
        return min(limit_s, _UNKNOWN_S)
    wait_s = max((each.waited_s or 0.0 for each in done), default=0.0) if first else 0.0
    found = expected * _MARGIN + wait_s
    # Eager cells say nothing of the time that compiling takes.
    known = any(_same_mode(cell, each) or each.spec.compile != _EAGER for each in done if each.status == OK)
    return min(limit_s, found if known else max(found, _UNKNOWN_S))


def left_s(cells: list[Cell], running_s: dict[str, float], slots: int) -> float | None:
    """Seconds until all cells have ended; None while nothing is known.

    Args:
        running_s: seconds since the start, by the ids of the running cells.
    """
    open_cells = [each for each in cells if each.status == QUEUED or each.id in running_s]
    expected = {each.id: expected_s(each, cells) for each in open_cells}
    known = [each for each in expected.values() if each is not None]
    if not known:
        return None if open_cells else 0.0
    usual = statistics.median(known)
    each_s = (max(0.0, (usual if known is None else known) - running_s.get(name, 0.0)) for name, known in expected.items())
    return sum(each_s) / max(1, slots)


def _scaled(cell: Cell, other: Cell) -> float:
    return max(0.0, (other.seconds or 0.0) - (other.waited_s or 0.0)) * max(1.0, cell.spec.batch / other.spec.batch)


def _same_mode_and_scheme(one: Cell, other: Cell) -> bool:
    return _same_mode(one, other) and one.spec.scheme == other.spec.scheme


def _same_mode(one: Cell, other: Cell) -> bool:
    return one.spec.compile == other.spec.compile


def _any(_one: Cell, _other: Cell) -> bool:
    return True

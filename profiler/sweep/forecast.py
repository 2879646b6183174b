"""How long a cell will take, from those that have ended: for the time left, and for not starting what cannot end."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from profiler.sweep.cells import OK, QUEUED, Cell

# What is predicted holds in most cases: cells differ in compiling by far more than they repeat.
_MARGIN = 1.3
# Seconds of a cell of which nothing is known.
_UNKNOWN_S = 60.0


def expected_s(cell: Cell, done: Iterable[Cell]) -> float | None:
    """Seconds that a cell will take, from the most similar ones that went well; None where there is none.

    Similar is: the same compile mode, then the same scheme, then the nearest batch; seconds grow at most with the batch.
    """
    known = [each for each in done if each.status == OK and each.seconds is not None and each.id != cell.id]
    for alike in (_same_mode_and_scheme, _same_mode, _any):
        found = [_scaled(cell, each) for each in known if alike(cell, each)]
        if found:
            return max(found) if alike is _same_mode else statistics.median(found)
    return None


def fits(cell: Cell, done: Iterable[Cell], left_s: float, limit_s: float) -> bool:
    """Whether a cell that starts now will end within `left_s`; of an unknown one a minute is expected."""
    expected = expected_s(cell, done)
    return min(limit_s, _UNKNOWN_S if expected is None else expected * _MARGIN) <= left_s


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
    return float(other.seconds or 0.0) * max(1.0, cell.spec.batch / other.spec.batch)


def _same_mode_and_scheme(one: Cell, other: Cell) -> bool:
    return _same_mode(one, other) and one.spec.scheme == other.spec.scheme


def _same_mode(one: Cell, other: Cell) -> bool:
    return one.spec.compile == other.spec.compile


def _any(_one: Cell, _other: Cell) -> bool:
    return True

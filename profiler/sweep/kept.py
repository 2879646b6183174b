"""What a folder has already of the cells that are asked for: a result is kept as long as it can be read."""

from __future__ import annotations

import os
from itertools import chain, count
from pathlib import Path

from profiler.core.errors import UnreadableInput
from profiler.core.plan_file import names_plan
from profiler.rundir.reader import is_run, read_manifest
from profiler.sweep.cells import OK, QUEUED, Cell


def kept_or_asked(path: Path, asked: Cell, before: Cell | None, retry: bool) -> Cell:
    """The cell with its result, or the one that is asked for, which then knows how often it was started and why it is again.

    Args:
        path: the sweep's folder.
        before: what the folder has under that id.
        retry: whether only a good result is kept.
    """
    if before is None or before.spec != asked.spec:
        return asked
    # Of another ending the run may well say nothing: that is what it ended with.
    damage = damage_of(path / before.run) if before.run and before.status == OK else None
    if damage is None and _is_kept(path, before, retry):
        return before
    asked.attempts = before.attempts
    if damage is not None and asked.status == QUEUED:
        asked.reason = f"to be run again: {damage}"
    return asked


def _is_kept(path: Path, cell: Cell, retry: bool) -> bool:
    """Whether a cell of an unchanged spec has a result that is not asked for again."""
    kept = cell.ended and (cell.status == OK or not retry) and not plan_is_newer(cell, cell.began_ns)
    return kept and (cell.run is None or is_run(path / cell.run))


def damage_of(run: Path) -> str | None:
    """Why a run directory cannot be read, or None."""
    try:
        read_manifest(run)
    except UnreadableInput as error:
        return error.message
    return None


def free_place(path: Path) -> Path:
    """The path, or with the first number that makes it one where nothing lies."""
    others = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(each for each in chain([path], others) if not os.path.lexists(each))


def plan_is_newer(cell: Cell, than_ns: int | None) -> bool:
    """Whether a cell's scheme is a plan that was written after that moment: the same words ask for something else now."""
    try:
        return names_plan(cell.spec.scheme) and Path(cell.spec.scheme).stat().st_mtime_ns > (than_ns or 0)
    except OSError:
        return False

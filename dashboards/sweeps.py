"""Sweeps, read once for each state of their folder; their cells are runs called `sweep/cell`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import streamlit as st

from dashboards import folder
from profiler.core.errors import UnreadableInput
from profiler.metrics.listing import RunRow, list_runs
from profiler.metrics.sweep import SweepResult, sweep_result
from profiler.rundir import layout
from profiler.rundir.reader import is_run, read_manifest

Stamp = tuple[str, tuple[tuple[str, int, int], ...]]
"""Status of the sweep, then name, size and time of change of what its answer comes from."""
_FILES = (layout.MANIFEST, layout.SWEEP, f"*/{layout.MANIFEST}", f"*/{layout.OUTPUT_TENSORS}")


def stamp(path: Path) -> Stamp:
    """The stamp of a sweep's folder. A sweep whose process died changes no file, but its status."""
    files = (each for pattern in _FILES for each in sorted(path.glob(pattern)))
    stats = tuple((str(each), stat.st_size, stat.st_mtime_ns) for each in files if each.is_file() and (stat := each.stat()))
    return (read_manifest(path).status if is_run(path) else ""), stats


def result(
    name: str, against: str | None = None, at_most_gib: float | None = None, at_least_db: float | None = None
) -> SweepResult:
    """The answer of a sweep; `against` is "seed" or None, the rest the recommendation's budget.

    Raises:
        UnreadableInput: there is none by that name, or it cannot be read.
    """
    path = folder.path_of(name)
    return _result(str(path), stamp(path), against, at_most_gib, at_least_db)


@st.cache_resource(max_entries=12, show_spinner="Reading the cells …")
def _result(path: str, stamp: Stamp, against: str | None, at_most_gib: float | None, at_least_db: float | None) -> SweepResult:
    return sweep_result(path, against=against, max_memory_gib=at_most_gib, min_sqnr_db=at_least_db)


def cells_of(name: str) -> list[RunRow]:
    """Where `name` is a sweep's cell, all runs of that sweep, as rows of the folder."""
    sweep, _, cell = name.partition("/")
    if not cell:
        return []
    try:
        path = folder.path_of(sweep)
    except UnreadableInput:
        return []
    if not (path / layout.SWEEP).is_file():
        return []
    return _cells(str(path), sweep, stamp(path))


@st.cache_resource(max_entries=12, show_spinner=False)
def _cells(path: str, sweep: str, stamp: Stamp) -> list[RunRow]:
    runs = (each.parent for each in sorted(Path(path).glob(f"*/{layout.MANIFEST}")))
    return [replace(row, name=f"{sweep}/{row.name}") for run in runs for row in list_runs(run) if not row.error]

"""The folder of runs that this server shows: the only one that it reads."""

from __future__ import annotations

import os
from pathlib import Path

from profiler.core.errors import UnreadableInput
from profiler.rundir import layout
from profiler.rundir.reader import is_run

# Set by the server before it starts; pages run in the same process.
VARIABLE = "DIFFUSCOPE_RUNS"
TRACES = (layout.TRACE, layout.PLACES, layout.MEMORY_TRACE)


def folder() -> Path:
    """The folder of runs."""
    return Path(os.environ.get(VARIABLE, "traces"))


def path_of(name: str, inside: Path | None = None) -> Path:
    """The run called `name` in the folder, which may itself be the one run; `sweep/cell` is a cell of a sweep.

    Raises:
        UnreadableInput: the name is no run's, or leads out of the folder.
    """
    root = inside or folder()
    first, _, cell = name.partition("/")
    path = (root if first == root.name else None) if is_run(root) else _below(root, first)
    if path and cell:
        found = _below(path, cell) if (path / layout.SWEEP).is_file() else None
        path = found if found and is_run(found) else None
    if path is None:
        raise UnreadableInput(f"{root} holds no run called {name!r}", "choose one on the Runs page")
    return path


def _below(root: Path, name: str) -> Path | None:
    """A folder right below another, or None."""
    if not name or Path(name).name != name or name in (".", ".."):
        return None
    path = root / name
    # A link in the folder may point anywhere on the machine.
    return path if path.is_dir() and path.resolve().is_relative_to(root.resolve()) else None


def trace_path(name: str, rank: int, artifact: str) -> Path:
    """A trace file of a run.

    Raises:
        UnreadableInput: no such run, no trace by that name, or none there.
    """
    run = path_of(name)
    path = layout.rank_dir(run, rank) / artifact
    if artifact not in TRACES or not path.is_file() or not path.resolve().is_relative_to(run.resolve()):
        raise UnreadableInput(f"{name} holds no {artifact!r} of rank {rank}", "record it again, or import the trace")
    return path

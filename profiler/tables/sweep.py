"""The cells of a sweep: `sweep.json` held against its shape, and the run directory of each cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Annotated, Any, get_type_hints

import msgspec

from profiler.core.errors import UnreadableInput
from profiler.core.spec import RunSpec
from profiler.rundir import layout
from profiler.rundir.reader import is_run, read_manifest
from profiler.rundir.shape import check_inside
from profiler.tables.run import Run

SCHEMA = 1
STATUSES = ("queued", "running", "ok", "oom", "failed", "timeout", "refused", "interrupted")
_SPEC = get_type_hints(RunSpec)
_MAX_BYTES = 64 << 20
_NAME_BYTES = 255
_CHANGED = "it was changed after the sweep, or is no sweep's; the runs below it can still be read one by one"


# What every table can hold: a larger number is no time and no count, and would be infinite once it is multiplied.
_LARGEST = 1 << 63
Number = Annotated[float, msgspec.Meta(gt=-_LARGEST, lt=_LARGEST)]
Whole = Annotated[int, msgspec.Meta(ge=-_LARGEST, le=_LARGEST - 1)]


class Extrapolated(msgspec.Struct, frozen=True, kw_only=True):
    """How a call's time follows from shorter calls: `fixed_ms` + steps x `step_ms`, give or take `error_ms`."""

    from_steps: list[Whole]
    fixed_ms: Number
    step_ms: Number
    error_ms: Number


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell as `sweep.json` has it. `run` is its folder below the sweep's, None before it started."""

    id: str
    spec: dict[str, Any]
    status: str
    hash: str = ""
    run: str | None = None
    attempts: Whole = 0
    began_ns: Whole | None = None
    seconds: Number | None = None
    worker: str | None = None
    reason: str | None = None
    extrapolated: Extrapolated | None = None
    cache: dict[str, Any] | None = None


class SweepFile(msgspec.Struct, frozen=True, kw_only=True):
    """`sweep.json`. `steps` is what times hold for, also those of cells that ran fewer."""

    schema: int
    cells: list[Cell]
    model: str = ""
    preset: str | None = None
    executor: str = "local"
    steps: Whole | None = None
    time_limit_s: Number | None = None
    began_ns: Whole | None = None


@dataclass(frozen=True)
class CellRun:
    """A cell and its run directory; `run` is None where there is none, and `problem` says why where there should be one."""

    cell: Cell
    run: Run | None
    problem: str = ""


@dataclass(frozen=True)
class SweepTables:
    """A sweep's folder, its file (None: a folder of runs that no sweep made), its cells in the order of the file."""

    folder: Path
    file: SweepFile | None
    cells: list[CellRun]
    status: str = ""


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds a sweep."""
    return (folder / layout.SWEEP).is_file()


def holds_runs(folder: Path) -> bool:
    """Whether a folder is a sweep's, or no run itself and has runs in it: whether `open_sweep` has something to say."""
    if is_sweep(folder):
        return True
    return folder.is_dir() and not is_run(folder) and bool(_runs_in(folder))


def open_sweep(folder: Path) -> SweepTables:
    """A sweep, finished or not; of a plain folder, one cell a recorded run.

    Raises:
        UnreadableInput: no folder, a `sweep.json` that cannot be read, or a folder without one run.
    """
    if not folder.is_dir():
        raise UnreadableInput(f"{folder} is no folder", "name the folder that `diffuscope sweep` made, or one of runs")
    if (folder / layout.SWEEP).exists():
        file = _read(folder / layout.SWEEP)
        status = read_manifest(folder).status if is_run(folder) else ""
        return SweepTables(folder, file, [_opened(folder, _settled(each, status)) for each in file.cells], status)
    cells = [found for path in _runs_in(folder) if (found := _plain(path))]
    if not cells:
        raise UnreadableInput(f"{folder} holds no {layout.SWEEP} and no recorded run", "make one with `diffuscope sweep MODEL`")
    return SweepTables(folder, None, cells)


def extrapolated_steps(run: Path) -> int | None:
    """The steps of the call that a sweep extrapolated from a cell's shorter ones; None for any other run."""
    if not is_sweep(run.parent):
        return None
    try:
        file = _read(run.parent / layout.SWEEP)
    except UnreadableInput:  # a run can be read whatever lies beside it
        return None
    cell = next((each for each in file.cells if each.run == run.name), None)
    return file.steps if cell and cell.extrapolated else None


def _runs_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if is_run(path))
    except OSError as error:
        raise UnreadableInput(f"cannot list {folder}: {error.strerror}", "check its permissions") from None


def _read(path: Path) -> SweepFile:
    try:
        stat = path.stat()
        if not S_ISREG(stat.st_mode) or stat.st_size > _MAX_BYTES:
            raise UnreadableInput(f"{path} is no file of at most {_MAX_BYTES >> 20} MiB", _CHANGED)
        raw = path.read_bytes()
        schema = msgspec.json.decode(raw, type=dict[str, Any]).get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            newer = f"{path} has schema {schema}; this diffuscope reads up to {SCHEMA}"
            raise UnreadableInput(newer, "upgrade diffuscope to read it")
        return _checked(path, msgspec.json.decode(raw, type=SweepFile))
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise UnreadableInput(f"{path} cannot be read: {error}", _CHANGED) from None


def _checked(path: Path, file: SweepFile) -> SweepFile:
    if file.schema != SCHEMA:
        raise UnreadableInput(f"{path} has schema {file.schema}, which was never written", _CHANGED)
    seen: set[str] = set()
    for each in file.cells:
        if each.id in seen:
            raise ValueError(f"cell {each.id!r} is there twice")
        if not each.id or not each.id.isprintable() or not _is_short(each.id):
            raise ValueError(f"{each.id[:60]!r} is no name of a cell")
        seen.add(each.id)
        if each.run is not None and not (_is_short(each.run) and _inside(each.run)):
            raise ValueError(f"the run of cell {each.id!r} lies outside the sweep, or nowhere: {each.run[:60]!r}")
        check_inside(_SPEC, each.spec, f"{each.id}: spec")
    return msgspec.structs.replace(file, cells=[_possible(each) for each in file.cells])


def _possible(cell: Cell) -> Cell:
    """A cell as sweeps write it by now: earlier ones extrapolated also from noise, to calls of less than no time."""
    if cell.extrapolated is None or cell.extrapolated.step_ms > 0:
        return cell
    why = f"not extrapolated: calls of {' and '.join(map(str, cell.extrapolated.from_steps))} steps took the same time"
    return msgspec.structs.replace(cell, extrapolated=None, reason=f"{cell.reason}; {why}" if cell.reason else why)


def _is_short(name: str) -> bool:
    """Whether a file system takes it as a name: it raises an error of its own at what is longer."""
    return len(name.encode(errors="replace")) <= _NAME_BYTES


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _settled(cell: Cell, sweep_status: str) -> Cell:
    """A cell that still says `running` though its sweep is over (`kill -9`) was interrupted."""
    if cell.status != "running" or sweep_status in ("", "running"):
        return cell
    return msgspec.structs.replace(cell, status="interrupted", reason=cell.reason or "the sweep ended while it ran")


def _opened(folder: Path, cell: Cell) -> CellRun:
    if cell.run is None:
        return CellRun(cell, None)
    try:
        return CellRun(cell, Run.open(folder / cell.run))
    except UnreadableInput as error:
        missing = cell.status in ("queued", "running") and not (folder / cell.run).exists()
        return CellRun(cell, None, "" if missing else error.message)


def _plain(path: Path) -> CellRun | None:
    """A run of a plain folder as a cell; None for tunings, imports and whatever else was not recorded from a spec."""
    try:
        run = Run.open(path)
    except UnreadableInput as error:
        return CellRun(Cell(id=path.name, spec={}, status="failed", run=path.name), None, error.message)
    manifest = run.manifest
    if manifest.kind != "record" or not manifest.spec.get("model"):
        return None
    return CellRun(Cell(id=path.name, spec=manifest.spec, status=manifest.status, hash=manifest.spec_hash, run=path.name), run)

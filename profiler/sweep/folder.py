"""The folder of a sweep: `run.json`, `sweep.json`, one run directory a cell. Whatever kills the sweep, it opens and goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiler.core.errors import DiffuscopeError, UnreadableInput, UsageError
from profiler.rundir import layout
from profiler.rundir.manifest import Failure, Manifest
from profiler.rundir.reader import is_run, read_manifest
from profiler.rundir.shape import build
from profiler.rundir.writer import process_identity, write_atomic
from profiler.sweep.cells import OK, REFUSED, Cell, named_as_before
from profiler.sweep.extrapolate import NOTE, extrapolate, why_not
from profiler.sweep.kept import damage_of, free_place, kept_or_asked, plan_is_newer

SCHEMA = 1
# Names in the folder beside those of the cells.
WORK, CACHE, LOGS, LOCK = ".work", layout.CACHE_DIR, "logs", ".lock"
_ELSEWHERE = "sweep into another folder"


@dataclass(kw_only=True)
class Header:
    """What `sweep.json` says beside its cells: the sweep as it was last asked for."""

    model: str
    preset: str | None = None
    executor: str = "local"
    steps: int | None = None
    time_limit_s: float = 900.0
    began_ns: int = field(default_factory=time.time_ns)


class SweepFolder:
    """The one writer of a sweep's folder.

    Args:
        path: made where it does not exist; a folder that holds something else is refused.
        header: the sweep as asked for now.
        spec: the same for `run.json`, JSON-ready.
        command: what the user typed.

    Raises:
        UsageError: another sweep works in it, it holds something else or cells of another model, or it cannot be written.
        UnreadableInput: its `sweep.json` is no such file.
    """

    def __init__(self, path: Path, header: Header, spec: dict[str, Any], command: str) -> None:
        refuse_other(path)
        self.path, self.header, self.cells = path, header, []  # type: Path, Header, list[Cell]
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
            # Only now: a sweep that ends removes it before it lets another one in.
            self.work.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror}", "name a writable place with -o") from None
        try:
            self.before = _cells_of(path, header.model)
        except DiffuscopeError:
            # Let go of, and nothing taken away: a run that its sweep could not seal may lie in there.
            with contextlib.suppress(OSError):
                self.work.rmdir()
            os.close(self._lock)
            raise
        self.manifest = Manifest(kind="sweep", command=command, spec=spec, process=process_identity(), created_ns=time.time_ns())

    @property
    def work(self) -> Path:
        """Where run directories are made, before they are sealed under their cells' ids."""
        return self.path / WORK

    @property
    def cache(self) -> Path:
        """Where the cells' compile caches lie."""
        return self.path / CACHE

    def begin(self, cells: list[Cell], retry: bool = False) -> None:
        """Take over what earlier sweeps of this folder finished, and write the cells down.

        A cell keeps its result where its spec is the same, also where the sweep was killed before it could note that result;
        with `retry` only a good one.
        Finished cells that are no longer asked for stay, behind the others; what was left half made is removed.
        """
        cells, before = named_as_before(cells, self.before), {each.id: each for each in self.before}
        self.cells = [self._taken_over(each, before.get(each.id), retry) for each in cells]
        asked = {each.id for each in cells}
        self.cells += [each for each in self.before if each.ended and each.id not in asked]
        for left in self.work.iterdir():
            _remove(left)
        for each in self.cells:
            self.note_extrapolation(each)
        self.write()
        self.write_manifest("running")

    def _taken_over(self, asked: Cell, before: Cell | None, retry: bool) -> Cell:
        found = kept_or_asked(self.path, asked, before, retry)
        if found is asked:
            self._adopt(asked)
        return found

    def _adopt(self, cell: Cell) -> None:
        """A run that ended well, though no one was left to say so."""
        for place in (self.path / cell.id, self.work / cell.id):
            try:
                manifest = read_manifest(place)
            except UnreadableInput:
                continue
            same = manifest.spec_hash == cell.spec.hash and not plan_is_newer(cell, manifest.created_ns)
            if manifest.status == OK and same:
                cell.status, cell.began_ns, cell.seconds = manifest.status, manifest.created_ns, _seconds(manifest)
                cell.reason = None
                cell.run = self._move(place, cell.id)
                return

    def seal(self, cell: Cell, log: str) -> None:
        """Take a cell's run directory, where one was made, out of the work folder to its place, and write all down."""
        made = self.work / cell.id
        cell.run = self._move(made, cell.id) if is_run(made) else None
        if log:
            (self.path / LOGS).mkdir(exist_ok=True)
            write_atomic(self.path / LOGS / f"{cell.id}.log", log)
        self.note_extrapolation(cell)
        self.write()

    def _move(self, made: Path, name: str) -> str:
        target, old = self.path / name, self.work / f"{name}.old"
        if made != target:
            # The run of an earlier spec goes only once the new one is there; one that says no more what it was stays beside it.
            # A link that leads nowhere is there too.
            if os.path.lexists(target):
                target.rename(old if damage_of(target) is None else free_place(self.path / f"{name}.damaged"))
            made.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        return name

    def note_extrapolation(self, cell: Cell) -> None:
        """What a cell of fewer steps says about the steps asked for; where that is nothing, its reason says why."""
        steps, cell.extrapolated = self.header.steps, None
        said = (cell.reason or "").partition(NOTE)[0].removesuffix("; ")
        why = None
        if cell.run and steps and cell.spec.steps and cell.spec.steps < steps:
            try:
                manifest = read_manifest(self.path / cell.run)
                cell.extrapolated, why = extrapolate(manifest, steps), why_not(manifest, steps)
            except UnreadableInput as error:
                why = f"{NOTE}{steps} steps: {error.message}"
        cell.reason = "; ".join(filter(None, (said, why))) or None

    def write(self) -> None:
        """Put the cells as they are on disk, in one step."""
        content = {"schema": SCHEMA, **vars(self.header), "cells": [each.to_dict() for each in self.cells]}
        write_atomic(self.path / layout.SWEEP, json.dumps(content, indent=1))

    def write_manifest(self, status: str, why: str | None = None) -> None:
        """The folder's own `run.json`: what a listing shows of it."""
        self.manifest.status = status
        self.manifest.failure = Failure(type="Unfinished", message=why) if why else None
        if status != "running":
            self.manifest.process = {}
        write_atomic(self.path / layout.MANIFEST, json.dumps(self.manifest.to_dict(), indent=1))

    def close(self) -> None:
        """Let another sweep in. Of the work folder only good runs stay that could not be sealed: the next one takes them over."""
        with contextlib.suppress(OSError):
            for left in [each for each in self.work.iterdir() if not _is_good(each)]:
                _remove(left)
            self.work.rmdir()
        os.close(self._lock)


def look(path: Path, model: str, cells: list[Cell], retry: bool = False) -> list[Cell]:
    """The cells with the results that a sweep of them in this folder would keep; changes nothing.

    Raises:
        UsageError: a sweep of them could not work in it.
        UnreadableInput: its `sweep.json` is no such file.
    """
    refuse_other(path)
    found = _cells_of(path, model)
    before = {each.id: each for each in found}
    return [kept_or_asked(path, each, before.get(each.id), retry) for each in named_as_before(cells, found)]


def _cells_of(path: Path, model: str) -> list[Cell]:
    """What a folder has already. Cells are named by their options alone: another model's would take their places."""
    cells = read_cells(path) if (path / layout.SWEEP).exists() else []
    others = {each.spec.model for each in cells if each.ended} - {model}
    if others:
        raise UsageError(f"{path} is a sweep of {', '.join(sorted(others))}, this is of {model}", "name another folder with -o")
    return cells


def read_cells(path: Path) -> list[Cell]:
    """The cells of a folder's `sweep.json`.

    Raises:
        UnreadableInput: not JSON, of another shape or schema, or with one id twice.
    """
    file = path / layout.SWEEP
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        schema, rows = raw["schema"], raw["cells"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableInput(f"{file} is no list of a sweep's cells: {error}", _ELSEWHERE) from None
    _refuse_schema(file, schema)
    try:
        build(Header, {"model": ""} | raw, "sweep")
    except TypeError as error:
        raise UnreadableInput(f"{file} has a wrong shape: {error}", _ELSEWHERE) from None
    if not isinstance(rows, list):
        raise UnreadableInput(f"{file} holds no list of cells", _ELSEWHERE)
    cells = [Cell.from_dict(each) for each in rows]
    twice = next((name for name, times in Counter(each.id for each in cells).items() if times > 1), None)
    if twice is not None:
        raise UnreadableInput(f"{file} holds cell {twice!r} twice", _ELSEWHERE)
    return cells


def _refuse_schema(file: Path, schema: object) -> None:
    # True is 1 for Python, and no schema.
    number = schema if isinstance(schema, int) and not isinstance(schema, bool) else 0
    if number > SCHEMA:
        raise UnreadableInput(f"{file} has schema {schema}; this diffuscope reads up to {SCHEMA}", "upgrade diffuscope")
    if number != SCHEMA:
        raise UnreadableInput(f"{file} has schema {str(schema)[:60]}, which was never written", _ELSEWHERE)


def refuse_other(path: Path) -> None:
    """Refuse a path that holds anything but a sweep.

    Raises:
        UsageError: a file, a folder with other content, one that leads elsewhere, or a run of another kind.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise UsageError(f"{path} is no folder", "name another with -o")
    link = next((each for each in (WORK, LOGS, LOCK) if (path / each).is_symlink()), None)
    if link is not None:
        # What is left there is removed, and what it leads to is not the sweep's.
        raise UsageError(f"{path / link} is a link, and leads out of the sweep's folder", "remove the link")
    names = {each.name for each in path.iterdir()}
    # What a sweep leaves that could not even write its list of cells: the disk was full.
    empty = names <= {LOCK, f".{layout.SWEEP}.partial"}
    sweep = {layout.SWEEP, WORK} & names or empty
    kind = read_manifest(path).kind if is_run(path) else "sweep"
    if not sweep or kind != "sweep":
        raise UsageError(f"{path} holds something that is no sweep", "name an empty or new folder with -o")


def _lock(path: Path) -> int:
    """Hold the folder until this process ends, however it ends."""
    file = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise UsageError(f"another sweep works in {path}", "wait for it, or name another folder with -o") from None
    return file


def _remove(left: Path) -> None:
    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def _is_good(run: Path) -> bool:
    try:
        return read_manifest(run).status == OK
    except UnreadableInput:
        return False


def _seconds(manifest: Manifest) -> float | None:
    ends = [each.end_ns for each in manifest.phases if each.end_ns is not None]
    return round((max(ends) - manifest.created_ns) / 1e9, 3) if ends else None


def interrupted(cells: list[Cell]) -> list[Cell]:
    """The cells that have no result yet."""
    return [each for each in cells if not each.ended and each.status != REFUSED]

"""Answers that take long, kept in a run's `cache/`: of exactly these files and this code, safe to delete, JSON and no pickle."""

from __future__ import annotations

import hashlib
import io
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

import profiler
from profiler.report.diagnose import Report
from profiler.rundir import layout
from profiler.tables import cache as entries
from profiler.tables.run import Run

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of every file that an answer comes from."""
_ANSWER = "answer.json"
_DAMAGED = (msgspec.DecodeError, pl.exceptions.PolarsError, ValueError)
_log = logging.getLogger(__name__)


def report(run: Run, name: str, stamps: list[Stamp], make: Callable[[], Report]) -> Report:
    """The report called `name` of a run, from its cache where it is of these files and this code, else made and kept.

    Args:
        stamps: of all files that it comes from.
    """
    found = _load(run.path, name, stamps)
    try:
        if found is not None:
            known: Report = msgspec.json.decode(found, type=Report, dec_hook=lambda kind, value: _decoded(run, kind, value))
            return known
    except _DAMAGED as error:
        _log.warning("%s of %s is damaged and made again: %s", name, run.path, error)
    made = make()
    _keep(run.path, name, stamps, msgspec.json.encode(made, enc_hook=_encoded))
    return made


def number(run: Run, name: str, stamps: list[Stamp], make: Callable[[], float | None]) -> float | None:
    """The same for one number."""
    found = _load(run.path, name, stamps)
    try:
        if found is not None:
            known: float | None = msgspec.json.decode(found, type=float | None)
            return known
    except _DAMAGED as error:
        _log.warning("%s of %s is damaged and made again: %s", name, run.path, error)
    made = make()
    _keep(run.path, name, stamps, msgspec.json.encode(made))
    return made


def _load(run: Path, name: str, stamps: list[Stamp]) -> bytes | None:
    folder = entries.find(run / layout.CACHE_DIR, name, _key(stamps))
    return (folder / _ANSWER).read_bytes() if folder else None


def _keep(run: Path, name: str, stamps: list[Stamp], answer: bytes) -> None:
    def fill(folder: Path) -> dict[str, Any]:
        (folder / _ANSWER).write_bytes(answer)
        return {}

    entries.store(run / layout.CACHE_DIR, name, _key(stamps), fill)


def _key(stamps: list[Stamp]) -> entries.Key:
    # Names are in it: a run that was copied says where it lies.
    return {"code": _code(), "files": hashlib.sha256(repr(stamps).encode()).hexdigest()}


@cache
def _code() -> str:
    """What changes whenever a line of the package may have changed."""
    root = Path(str(profiler.__file__)).parent
    files = ((path.relative_to(root).as_posix(), path.stat()) for path in sorted(root.rglob("*.py")))
    return hashlib.sha256(repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]).encode()).hexdigest()


def _encoded(value: Any) -> str:
    if isinstance(value, Run):
        return ""
    if isinstance(value, pl.DataFrame):
        target = io.BytesIO()
        value.write_ipc(target)
        return b64encode(target.getvalue()).decode("ascii")
    raise NotImplementedError(type(value))


def _decoded(run: Run, kind: type[Any], value: Any) -> Any:
    return run if kind is Run else pl.read_ipc(io.BytesIO(b64decode(value)))

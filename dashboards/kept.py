"""Answers that take long, kept in a run's `cache/`: of exactly these files and this code, safe to delete; no pickle."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import polars as pl

import profiler
from profiler.metrics.compare import Comparison
from profiler.metrics.compare_timelines import Overlaid
from profiler.report.diagnose import Report
from profiler.rundir import layout
from profiler.tables import cache as entries
from profiler.tables.run import Run

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of every file that an answer comes from."""
T = TypeVar("T")
_ANSWER = "answer.msgpack"
_DAMAGED = (msgspec.DecodeError, pl.exceptions.PolarsError, ValueError, LookupError)
_log = logging.getLogger(__name__)


def report(run: Run, name: str, stamps: list[Stamp], make: Callable[[], Report]) -> Report:
    """The report called `name` of a run, from its cache where it is of these files and this code, else made and kept.

    Args:
        stamps: of all files that it comes from.
    """
    return _answer(Report, [run], name, stamps, make)


def comparison(run: Run, base: Run, stamps: list[Stamp], make: Callable[[], Comparison], rank: int | None = None) -> Comparison:
    """The same for a run held against its base, of several ranks by one of them."""
    # One a base: of another base only the stamps would tell, and the two would push each other out.
    name = f"compared-{hashlib.sha256(str(base.path.absolute()).encode()).hexdigest()[:12]}"
    return _answer(Comparison, [run, base], name if rank is None else f"{name}-rank{rank}", stamps, make)


def overlaid(run: Run, stamps: list[Stamp], make: Callable[[], Overlaid]) -> Overlaid:
    """The same for a run's live memory over a call."""
    return _answer(Overlaid, [run], "live-over-call", stamps, make)


def number(run: Run, name: str, stamps: list[Stamp], make: Callable[[], float | None]) -> float | None:
    """The same for one number."""
    return _answer(_Number, [run], name, stamps, lambda: _Number(make())).value


@dataclass(frozen=True)
class _Number:
    value: float | None


def _answer(kind: type[T], runs: list[Run], name: str, stamps: list[Stamp], make: Callable[[], T]) -> T:
    path = runs[0].path
    found = _load(path, name, stamps)
    try:
        if found is not None:
            by_path = {str(run.path): run for run in runs}
            known: T = msgspec.msgpack.decode(found, type=kind, dec_hook=lambda of, value: _decoded(by_path, of, value))
            return known
    except _DAMAGED as error:
        _log.warning("%s of %s is damaged and made again: %s", name, path, error)
    made = make()
    _keep(path, name, stamps, msgspec.msgpack.encode(made, enc_hook=_encoded))
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


def _encoded(value: Any) -> str | bytes:
    if isinstance(value, Run):
        return str(value.path)
    if isinstance(value, pl.DataFrame):
        target = io.BytesIO()
        value.write_ipc(target)
        return target.getvalue()
    raise NotImplementedError(type(value))


def _decoded(runs: dict[str, Run], kind: type[Any], value: Any) -> Any:
    return runs[value] if kind is Run else pl.read_ipc(io.BytesIO(value))

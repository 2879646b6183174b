"""One cell of a sweep: a spec, where its run lies, and how it ended. The rows of `sweep.json`."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, fields, replace
from itertools import chain, count
from operator import eq
from pathlib import PurePath
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.core.spec import RunSpec
from profiler.rundir.shape import build

QUEUED, RUNNING, OK, OOM, FAILED = "queued", "running", "ok", "oom", "failed"
TIMEOUT, REFUSED, INTERRUPTED = "timeout", "refused", "interrupted"
STATUSES = (QUEUED, RUNNING, OK, OOM, FAILED, TIMEOUT, REFUSED, INTERRUPTED)
# What a cell is done with: a failure is a result as well.
RESULTS = (OK, OOM, FAILED, TIMEOUT)
# What a file system takes as one name.
_NAME_BYTES = 255

_SHORT = {
    "fuse_qkv": "qkv",
    "compile_vae": "cvae",
    "quantize_vae": "qvae",
    "quantize_text_encoder": "qtext",
    "channels_last": "nhwc",
}


@dataclass(kw_only=True)
class _Parts:
    """What `extrapolate` makes."""

    from_steps: list[int]
    fixed_ms: float
    step_ms: float
    error_ms: float


@dataclass(kw_only=True)
class _Row:
    """What a row of `sweep.json` says beside the fields of a cell, or more strictly than these do."""

    hash: str = ""
    extrapolated: _Parts | None = None


@dataclass(kw_only=True)
class Cell:
    """One cell. Times are epoch nanoseconds and seconds; `run` is its run directory's name below the sweep's folder.

    `waited_s` are those of `seconds` in which it waited for imports that later cells find done, `attempts` counts how often it
    was started with this spec, `extrapolated` is what `extrapolate` made of two step counts, `cache` how the compile caches did;
    None where there is nothing to say.
    """

    id: str
    spec: RunSpec
    status: str = QUEUED
    run: str | None = None
    attempts: int = 0
    began_ns: int | None = None
    seconds: float | None = None
    waited_s: float | None = None
    worker: str | None = None
    reason: str | None = None
    extrapolated: dict[str, Any] | None = None
    cache: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row of `sweep.json`."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        return row | {"spec": self.spec.to_dict(), "hash": self.spec.hash}

    @classmethod
    def from_dict(cls, raw: Any) -> Cell:
        """The inverse of `to_dict`; fields of a later version are left out.

        Raises:
            UnreadableInput: no id, no spec, a field of another type, a status that there is not, or a run that is no name.
        """
        try:
            cell = build(cls, raw, "cell")
            build(_Row, raw, "cell")
        except TypeError as error:
            raise UnreadableInput(f"a cell of the sweep has a wrong shape: {error}", "sweep into another folder") from None
        names = (cell.id, cell.id if cell.run is None else cell.run)
        if not all(0 < len(each.encode(errors="replace")) <= _NAME_BYTES for each in names):
            raise UnreadableInput(f"cell {cell.id[:60]!r} has a name that no folder can have", "sweep into another folder")
        if not all(map(_is_name, names)):
            raise UnreadableInput(f"cell {cell.id!r} lies outside the sweep's folder", "sweep into another folder")
        if cell.status not in STATUSES:
            raise UnreadableInput(f"cell {cell.id} has the status {cell.status!r}", f"there are: {', '.join(STATUSES)}")
        return cell

    @property
    def ended(self) -> bool:
        """Whether it has a result that is not asked for again."""
        return self.status in RESULTS


def _is_name(text: str) -> bool:
    return text.isprintable() and PurePath(text).name == text != ".."


def cell_id(spec: RunSpec) -> str:
    """A readable name: scheme, compile mode, options, batch; what all cells of a sweep share is not in it."""
    scheme = PurePath(spec.scheme).stem if "/" in spec.scheme or spec.scheme.endswith(".json") else spec.scheme
    parts = [scheme, spec.compile, *(short for name, short in _SHORT.items() if getattr(spec, name))]
    parts += [] if spec.offload == "none" else [spec.offload]
    parts += [] if spec.batch == 1 else [f"b{spec.batch}"]
    return "-".join("".join(each if each.isalnum() or each in "_." else "_" for each in part) for part in parts)


def make_cells(specs: Iterable[RunSpec]) -> list[Cell]:
    """One cell for each distinct spec, in the given order; ids are made distinct by a number."""
    cells: dict[str, Cell] = {}
    for spec in dict.fromkeys(specs):
        name = _distinct(cell_id(spec), cells)
        cells[name] = Cell(id=name, spec=spec)
    return list(cells.values())


def named_as_before(cells: list[Cell], before: list[Cell]) -> list[Cell]:
    """The cells under the ids that a folder has for them, the others under ids that are no other cell's in it.

    A cell is found again by its spec; else by what its id says and its whole scheme, since plans of one file name are not one.

    Args:
        before: what the folder has.
    """
    # Of two that are the same, the one with a result.
    known = sorted(before, key=lambda each: not each.ended)
    names: dict[RunSpec, str] = {}
    for same in (eq, _differ_in_no_name):
        for spec in [each.spec for each in cells if each.spec not in names]:
            free = [old.id for old in known if same(old.spec, spec) and old.id not in names.values()]
            if free:
                names[spec] = free[0]
    taken = {each.id for each in before if each.ended or each.run}
    for spec in [each.spec for each in cells if each.spec not in names]:
        names[spec] = _distinct(cell_id(spec), taken | set(names.values()))
    return [replace(each, id=names[each.spec]) for each in cells]


def _differ_in_no_name(one: RunSpec, other: RunSpec) -> bool:
    return (cell_id(one), one.scheme) == (cell_id(other), other.scheme)


def _distinct(name: str, taken: Container[str]) -> str:
    """The name, or with the first number from 2 that makes it none of the others."""
    return next(each for each in chain([name], (f"{name}-{number}" for number in count(2))) if each not in taken)

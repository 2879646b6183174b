"""Which tuned kernels hold here, and how a table is written. Standard library only."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from profiler.core.errors import Refused, UsageError
from profiler.core.product import Shape
from profiler.rundir.tuned_table import KERNEL_VERSION, Entry, Section, Table, TableKey, own_table, read_table, shipped_tables
from profiler.rundir.writer import write_atomic

__all__ = ["KERNEL_VERSION", "Entry", "Section", "Table", "TableKey", "own_table", "read_table", "shipped_tables"]
__all__ += ["find_entries", "refuse_unwritable", "save_merged", "table_of"]


def table_of(key: TableKey, entries: dict[Shape, Entry]) -> Table:
    """A table of one key alone."""
    return Table(sections=[Section(key=key, entries={str(shape): entry for shape, entry in entries.items()})])


def save_merged(path: Path, table: Table) -> None:
    """Add a table to a file in one step; the file is made where there is none.

    Raises:
        UnreadableInput: the file is there and is no table.
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            whole = read_table(path).merged(table) if path.exists() else table
            write_atomic(path, json.dumps(asdict(whole), indent=1))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "name another file with --table") from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a table between reading and writing it: another tuning that adds to it meanwhile would be lost."""
    # Of its folder: nothing of ours then lies beside the table.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # On a disk without locks what was found is kept all the same.
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def refuse_unwritable(path: Path, option: str) -> None:
    """Refuse a file that could not be written once there is something to write.

    Raises:
        UsageError: its folder cannot be made, or holds no new file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", f"name another file with {option}") from None


def find_entries(asked: str, key: TableKey) -> tuple[dict[Shape, Entry], list[str]]:
    """The entries that hold here, and the files that they came from; those of the user's own table win.

    Args:
        asked: `off`, `auto` (what was shipped and what the user tuned, where it fits), or a file.

    Raises:
        Refused: a file was named, and it holds nothing for this device and these versions.
        UsageError, UnreadableInput: a table cannot be read.
    """
    if asked == "off":
        return {}, []
    if asked == "auto":
        return _merge((path, read_table(path).find(key)) for path in (*shipped_tables(), own_table()) if path.exists())
    table = read_table(Path(asked))
    if not table.find(key):
        raise Refused(f"{asked} was tuned for {_keys(table)}; this is {_name(key)}", "tune here with `diffuscope tune`")
    return _merge([(Path(asked), table.find(key))])


def _merge(found: Iterable[tuple[Path, dict[Shape, Entry]]]) -> tuple[dict[Shape, Entry], list[str]]:
    entries: dict[Shape, Entry] = {}
    files = []
    for path, some in found:
        entries |= some
        files += [str(path)] if some else []
    return entries, files


def _keys(table: Table) -> str:
    return "; ".join(_name(each.key) for each in table.sections) or "nothing"


def _name(key: TableKey) -> str:
    triton = f", triton {key.triton}" if key.triton else ""
    return f"{key.device}, torch {key.torch}{triton}, kernels {key.kernels}"

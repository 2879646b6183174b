"""A CUDA memory snapshot as cached tables: `open_snapshot` has the pickle read once, in a child process."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from profiler.tables import cache
from profiler.tables.snapshot_history import history
from profiler.tables.snapshot_process import read_snapshot
from profiler.tables.snapshot_schema import SNAPSHOT_VERSION, TABLES


@dataclass(frozen=True)
class SnapshotTables:
    """The tables of one snapshot.

    Args:
        folder: the cache folder with `<table>.parquet`.
        settings: the allocator's settings, as torch wrote them (`PYTORCH_CUDA_ALLOC_CONF`, `expandable_segments`, ...).
        recorded: events in the trace of each device, by its index.
        lost: events that could not be read, by reason.
        rows: rows of each table.
    """

    folder: Path
    settings: dict[str, Any]
    recorded: list[int]
    lost: dict[str, int]
    rows: dict[str, int]

    def lazy(self, table: str) -> pl.LazyFrame:
        """One table (a key of `snapshot_schema.TABLES`), rows in the snapshot's order."""
        if not self.rows[table]:
            return pl.LazyFrame(schema=TABLES[table].dtypes)
        return pl.scan_parquet(self.folder / f"{table}.parquet")

    def frame(self, table: str) -> pl.DataFrame:
        """The same table, in memory."""
        return self.lazy(table).collect()

    def history(self, max_entries: int | None = None) -> pl.DataFrame:
        """What the events leave out, a row a device; columns and `max_entries`: see `snapshot_history.history`."""
        return history(self.lazy("events"), self.lazy("blocks"), self.recorded, max_entries)


def open_snapshot(snapshot: Path, cache_dir: Path, rank: int = 0) -> SnapshotTables:
    """The tables of `snapshot`, from the cache in `cache_dir` where it is of this file and this version, else read now.

    Raises:
        UnreadableInput: the file is no CUDA memory snapshot, or nobody should read it.
    """
    key = cache.key_of(snapshot) | {"snapshot": SNAPSHOT_VERSION}
    name = f"{snapshot.name.partition('.')[0]}-rank{rank}"
    folder = cache.find(cache_dir, name, key)
    if folder is None:
        folder = cache.store(cache_dir, name, key, lambda partial: read_snapshot(snapshot, partial, rank))
    facts = cache.facts_of(folder)
    return SnapshotTables(folder, facts["settings"], facts["recorded"], facts["lost"], facts["rows"])


def check_snapshot(snapshot: Path) -> None:
    """Read all of `snapshot` and keep nothing.

    Raises:
        UnreadableInput: the file is no CUDA memory snapshot, or nobody should read it.
    """
    with tempfile.TemporaryDirectory() as folder:
        read_snapshot(snapshot, Path(folder), 0)

"""A trace file as cached columns: `open_trace` reads the file once and afterwards only the Parquet files."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from profiler.tables import cache, columns, schema
from profiler.tables.chunks import CHUNK_BYTES, read_chunks
from profiler.tables.losses import Losses
from profiler.tables.parts import Parts
from profiler.tables.stream import PIECE_BYTES, EventStream


@dataclass(frozen=True)
class TraceTables:
    """The tables of one trace.

    Args:
        folder: the cache folder with `<table>-<number>.parquet`.
        metadata: everything of the trace file that is no event (deviceProperties, distributedInfo, traceName, ...).
        lost: events that could not be read, by reason.
        events: events read into a table, by table.
    """

    folder: Path
    metadata: dict[str, Any]
    lost: dict[str, int]
    events: dict[str, int]

    @property
    def base_ns(self) -> int:
        """What to add to a `ts_ns` to get epoch nanoseconds."""
        base = self.metadata.get("baseTimeNanoseconds", 0)
        return base if isinstance(base, int) else 0

    def lazy(self, table: str) -> pl.LazyFrame:
        """One table (a key of `schema.TABLES`), rows in file order; its columns are there even where it has no row."""
        if not self.events.get(table):
            return pl.LazyFrame(schema=schema.TABLES[table].dtypes)
        return pl.scan_parquet(self.folder / f"{table}-*.parquet")

    def frame(self, table: str) -> pl.DataFrame:
        """The same table, in memory."""
        return self.lazy(table).collect()


def open_trace(trace: Path, cache_dir: Path, rank: int = 0, piece_bytes: int = PIECE_BYTES) -> TraceTables:
    """The tables of `trace`, from the cache in `cache_dir` where it is of this file and this version, else read now.

    Raises:
        UnreadableInput: the file is no Kineto trace, or nothing of it can be read.
    """
    key = cache.key_of(trace)
    name = f"{trace.name.partition('.')[0]}-rank{rank}"
    folder = cache.find(cache_dir, name, key)
    if folder is None:
        folder = cache.store(cache_dir, name, key, lambda partial: write_tables(trace, partial, rank, piece_bytes))
    facts = cache.facts_of(folder)
    return TraceTables(folder, facts["metadata"], facts["lost"], facts["events"])


def write_tables(trace: Path, folder: Path, rank: int, piece_bytes: int = PIECE_BYTES) -> dict[str, Any]:
    """Read `trace` into Parquet files in `folder`, in constant memory; returns metadata, losses and row counts."""
    losses = Losses()
    chunks = read_chunks(trace, losses, min(CHUNK_BYTES, piece_bytes))
    stream = EventStream(trace, chunks, losses, piece_bytes)
    parts = {name: Parts(folder, name) for name in schema.TABLES}
    with _no_garbage_collection():
        for batch in stream:
            for name, rows in columns.split(batch, losses).items():
                if rows:
                    parts[name].add(columns.frame(schema.TABLES[name], rows, rank, losses))
    for each in parts.values():
        each.flush()
    return {"metadata": stream.metadata, "lost": losses.counts, "events": {name: each.rows for name, each in parts.items()}}


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A batch makes a hundred thousand objects and no cycle: looking for cycles would double the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

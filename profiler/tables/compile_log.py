"""A compile log as cached frames: `open_compile_log` reads the files once and afterwards only the Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.tables import cache
from profiler.tables import compile_log_schema as schema
from profiler.tables.chunks import CHUNK_BYTES, read_chunks
from profiler.tables.compile_log_reader import FileReader
from profiler.tables.compile_log_records import Record, read_records
from profiler.tables.compile_log_rows import Rows
from profiler.tables.losses import Losses

_GIVE = "give what TORCH_TRACE=DIR wrote: its .log files, plain or gzipped"
NO_LOG = "files that are no structured compile log"


@dataclass(frozen=True)
class CompileLog:
    """The tables of one rank's compile log.

    Args:
        folder: the cache folder with `<table>.parquet`.
        lost: what could not be read, by reason.
        unread: records of kinds that no table needs, by kind.
        records: records read.
    """

    folder: Path
    lost: dict[str, int]
    unread: dict[str, int]
    records: int

    def frame(self, table: str) -> pl.DataFrame:
        """One table, a key of `compile_log_schema.TABLES`; rows in the order of the log."""
        return pl.read_parquet(self.folder / f"{table}.parquet")


def open_compile_log(folder: Path, cache_dir: Path, rank: int = 0) -> CompileLog:
    """The tables of the log in `folder`, from the cache in `cache_dir` where it is of these files and this version.

    Raises:
        UnreadableInput: no folder, no file in it, or none that is a structured compile log.
    """
    files = _files(folder)
    key = {"version": schema.VERSION, "files": {each.relative_to(folder).as_posix(): cache.key_of(each) for each in files}}
    name = f"compile_log-rank{rank}"
    found = cache.find(cache_dir, name, key)
    if found is None:
        found = cache.store(cache_dir, name, key, lambda partial: write_tables(folder, files, partial, rank))
    facts = cache.facts_of(found)
    return CompileLog(found, facts["lost"], facts["unread"], facts["records"])


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UnreadableInput(f"{folder} is no folder with a compile log", _GIVE)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise UnreadableInput(f"{folder} holds no compile log: it is empty", _GIVE)
    return files


def write_tables(folder: Path, files: list[Path], target: Path, rank: int, chunk_bytes: int = CHUNK_BYTES) -> dict[str, Any]:
    """Read `files` into one Parquet file a table in `target`; returns losses and counts."""
    rows, losses, unread = Rows(), Losses(), dict[str, int]()
    counter = _Counter()
    generation = 0
    for path in files:
        before = counter.records
        reader = FileReader(path.relative_to(folder).as_posix(), rows, losses, generation, rank)
        reader.read(counter.count(_records(path, losses, chunk_bytes)))
        if counter.records == before:
            losses.add(NO_LOG)
        generation = reader.generation + 1
        for kind, count in reader.unread.items():
            unread[kind] = unread.get(kind, 0) + count
    if not counter.records:
        raise UnreadableInput(f"{folder} holds no structured compile log, but {_named(files)}", _GIVE)
    for name, frame in rows.frames().items():
        frame.write_parquet(target / f"{name}.parquet", compression="zstd", compression_level=1)
    return {"lost": losses.counts, "unread": unread, "records": counter.records}


def _records(path: Path, losses: Losses, chunk_bytes: int) -> Iterator[Record]:
    """Records of one file; a file that cannot be unpacked at all has none, and is counted."""
    # Each file may end inside a record: the end of one says nothing of the next.
    own = Losses()
    try:
        yield from read_records(read_chunks(path, own, chunk_bytes), own)
    except UnreadableInput as error:
        own.add(error.message.partition(str(path))[2].strip() or error.message)
    finally:
        for why, count in own.counts.items():
            losses.add(why, count)


class _Counter:
    def __init__(self) -> None:
        self.records = 0

    def count(self, records: Iterator[Record]) -> Iterator[Record]:
        for each in records:
            self.records += 1
            yield each


def _named(files: list[Path]) -> str:
    names = ", ".join(path.name for path in files[:3])
    return names if len(files) <= 3 else f"{names} and {len(files) - 3} more"

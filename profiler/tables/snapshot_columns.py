"""A snapshot's records as tables: a few thousand records at a time, column by column, without a copy of any record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from profiler.tables import snapshot_schema as schema
from profiler.tables.losses import Losses
from profiler.tables.parts import Parts
from profiler.tables.schema import Table
from profiler.tables.snapshot_records import Records
from profiler.tables.snapshot_room import Room
from profiler.tables.snapshot_shape import Snapshot, WrongShape
from profiler.tables.snapshot_stacks import Stacks

_CHUNK_RECORDS = 1 << 13
# What torch writes where no frame was being compiled.
_NO_CONTEXT = ("N/A",)
# torch's documentation has a name of its own for one state.
_STATE_ALSO = {"active_awaiting_free": "active_pending_free"}
_Records = list[dict[str, Any]]
_Columns = dict[str, pl.Series]


def write_tables(snapshot: Snapshot, folder: Path, rank: int, room: Room, losses: Losses) -> dict[str, int]:
    """Write `<table>-<number>.parquet` into `folder`; returns the rows of each table.

    Events of actions that are not known are left out and counted.

    Raises:
        WrongShape: a value that cannot be what it should be, or more rows than a file of this size can mean.
    """
    stacks = Stacks(room)
    parts = {name: Parts(folder, name) for name in schema.TABLES}
    for device, trace in enumerate(snapshot.traces):
        for start, some in _chunks(trace, f"device_traces[{device}]", room):
            parts["events"].add(_frame(schema.EVENTS, _events(some, start, device, stacks, losses), rank))
    for _, some in _chunks(snapshot.blocks, "blocks", room):
        parts["blocks"].add(_frame(schema.BLOCKS, _blocks(some, stacks), rank))
    for _, some in _chunks(snapshot.segments, "segments", room):
        parts["segments"].add(_frame(schema.SEGMENTS, _segments(some, stacks), rank))
    for _, some in _chunks(snapshot.annotations, "external_annotations", room):
        parts["annotations"].add(_frame(schema.ANNOTATIONS, _annotations(some), rank))
    parts["stacks"].add(stacks.frame(rank))
    for each in parts.values():
        each.flush()
    return {name: each.rows for name, each in parts.items()}


def _chunks(records: _Records, where: str, room: Room) -> Iterator[tuple[int, Records]]:
    room.records(len(records))
    for start in range(0, len(records), _CHUNK_RECORDS):
        some = records[start : start + _CHUNK_RECORDS]
        # Records that were read are let go: the snapshot shrinks as its tables grow.
        records[start : start + _CHUNK_RECORDS] = [{}] * len(some)
        yield start, Records(some, where, room)


def _frame(table: Table, columns: _Columns, rank: int) -> pl.DataFrame:
    """The columns in the table's order, and the rank."""
    ranks = pl.Series([rank], dtype=pl.Int32).new_from_index(0, columns[table.columns[0].name].len())
    return pl.DataFrame([columns[each.name].alias(each.name) for each in table.columns] + [ranks.alias("rank")])


def _events(some: Records, start: int, device: int, stacks: Stacks, losses: Losses) -> _Columns:
    actions, unknown = some.words("action", pl.Enum(schema.ACTIONS))
    pool_a, pool_b = some.pools("pool_id")
    oom = (actions == "oom").any()
    columns = {
        "index": pl.Series(list(range(start, start + some.count)), dtype=pl.UInt32),
        "device": some.one(device, pl.Int32),
        "time_us": some.integers("time_us", pl.Int64, required=False),
        "action": actions,
        "address": some.integers("addr", pl.UInt64, required=False),
        "size_bytes": some.integers("size", pl.UInt64),
        "stream": some.integers("stream", pl.UInt64),
        "stack": some.stacks(stacks),
        "compile_context": some.texts("compile_context", _NO_CONTEXT),
        "user_metadata": some.texts("user_metadata"),
        "device_free_bytes": some.integers("device_free", pl.UInt64, required=False) if oom else some.one(None, pl.UInt64),
        "pool_a": pool_a,
        "pool_b": pool_b,
    }
    for word in unknown:
        losses.add(f"events of action {str(word)[:80]!r} are not known")
    return _checked(some, columns)


def _checked(some: Records, columns: _Columns) -> _Columns:
    """The same columns without events of unknown actions; an `oom` has no address, and its size may be absurd."""
    actions = columns["action"]
    if actions.null_count():
        kept = actions.is_not_null()
        columns = {name: values.filter(kept) for name, values in columns.items()}
    usual = columns["action"] != "oom"
    if columns["address"].filter(usual).null_count():
        raise WrongShape("an event has no 'addr'")
    some.check_sizes(columns["size_bytes"].filter(usual), "size")
    return columns


def _blocks(some: Records, stacks: Stacks) -> _Columns:
    return {
        "device": some.integers("device", pl.Int32),
        "segment_address": some.integers("segment_address", pl.UInt64),
        "address": some.integers("address", pl.UInt64),
        "size_bytes": some.sizes("size"),
        "requested_bytes": some.sizes("requested_size"),
        "state": some.known_words("state", pl.Enum(schema.STATES), _STATE_ALSO),
        "stack": some.stacks(stacks),
    }


def _segments(some: Records, stacks: Stacks) -> _Columns:
    pool_a, pool_b = some.pools("segment_pool_id")
    return {
        "device": some.integers("device", pl.Int32),
        "address": some.integers("address", pl.UInt64),
        "total_bytes": some.sizes("total_size"),
        "allocated_bytes": some.sizes("allocated_size"),
        "active_bytes": some.sizes("active_size"),
        "requested_bytes": some.sizes("requested_size", required=False),
        "stream": some.integers("stream", pl.UInt64),
        "kind": some.known_words("segment_type", pl.Enum(schema.KINDS)),
        "pool_a": pool_a,
        "pool_b": pool_b,
        "expandable": some.flags("is_expandable"),
        "stack": some.stacks(stacks),
    }


def _annotations(some: Records) -> _Columns:
    return {
        "time_us": some.integers("time_us", pl.Int64),
        "stage": some.known_words("stage", pl.Enum(("START", "END"))),
        "name": some.texts("name"),
        "device": some.integers("device", pl.Int32),
    }

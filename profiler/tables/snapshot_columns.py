"""A snapshot's records as tables: a few thousand records at a time, column by column, without a copy of any record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from profiler.tables import parquet
from profiler.tables.losses import Losses
from profiler.tables.parquet import ParquetWriter
from profiler.tables.snapshot_builders import Builder, Filled, Flags, Numbers, Pools, Records, Same, Sizes, StackNumbers, Texts
from profiler.tables.snapshot_events import Actions, EventAddresses, EventSizes, Positions, known_events
from profiler.tables.snapshot_layout import TABLES, Column
from profiler.tables.snapshot_room import Room
from profiler.tables.snapshot_shape import Snapshot
from profiler.tables.snapshot_stacks import Stacks

_CHUNK_RECORDS = 1 << 13
_GROUP_ROWS = 1 << 17
# What torch writes where no frame was being compiled, and its documentation's own name for one state.
_ALSO = {"compile_context": {"N/A": ""}, "state": {"active_awaiting_free": "active_pending_free"}}


def write_tables(snapshot: Snapshot, folder: Path, rank: int, room: Room, losses: Losses) -> dict[str, int]:
    """Write `<table>.parquet` into `folder`; returns the rows of each table.

    Events of actions that are not known are left out and counted.

    Raises:
        WrongShape: a value that cannot be what it should be, or more rows than a file of this size can mean.
    """
    tables = _Tables(folder, rank, room)
    return {
        "events": tables.events(snapshot.traces, losses),
        "blocks": tables.records("blocks", snapshot.blocks, "blocks"),
        "segments": tables.records("segments", snapshot.segments, "segments"),
        "annotations": tables.records("annotations", snapshot.annotations, "external_annotations"),
        "stacks": tables.stacks(),
    }


class _Tables:
    def __init__(self, folder: Path, rank: int, room: Room) -> None:
        self._folder, self._rank, self._room = folder, rank, room
        self._stacks = Stacks(room)

    def events(self, traces: list[Records], losses: Losses) -> int:
        with self._writer("events") as writer:
            for device, trace in enumerate(traces):
                positions, actions = Positions(), Actions()
                group = _Group(writer, self._event_builders(device, positions, actions))
                for start, some in _chunks(trace, self._room):
                    known = known_events(some, start, losses)
                    positions.next, actions.next = known.places, known.actions
                    group.add(known.records)
                group.flush()
        return writer.rows

    def records(self, name: str, records: Records, where: str) -> int:
        with self._writer(name) as writer:
            group = _Group(writer, self._builders(TABLES[name][0], where))
            for _, some in _chunks(records, self._room):
                group.add(some)
            group.flush()
        return writer.rows

    def stacks(self) -> int:
        with self._writer("stacks") as writer:
            for chunks in self._stacks.chunks(self._rank, _GROUP_ROWS):
                writer.add(chunks)
        return writer.rows

    def _writer(self, name: str) -> ParquetWriter:
        return ParquetWriter(
            self._folder / f"{name}.parquet", {each.name: (each.kind, each.nullable) for each in TABLES[name][0]}
        )

    def _event_builders(self, device: int, positions: Positions, actions: Actions) -> dict[str, Builder]:
        where = f"device_traces[{device}]"
        special: dict[str, Builder] = {
            "index": positions,
            "device": Same(device, parquet.INT32),
            "action": actions,
            "address": EventAddresses("addr", parquet.UINT64, where, nullable=True),
            "size_bytes": EventSizes("size", parquet.UINT64, where),
        }
        usual = [each for each in TABLES["events"][0] if each.name not in special]
        return special | self._builders(usual, where)

    def _builders(self, columns: list[Column] | tuple[Column, ...], where: str) -> dict[str, Builder]:
        found = {each.name: self._builder(each, where) for each in columns}
        pools = found.get("pool_a")
        if isinstance(pools, Pools):
            found["pool_b"] = Filled(pools.seconds)
        return found

    def _builder(self, column: Column, where: str) -> Builder:
        if column.name == "rank":
            return Same(self._rank, column.kind)
        if column.name == "stack":
            return StackNumbers(self._stacks)
        if column.name == "pool_a":
            return Pools(column.source, where)
        if column.kind == parquet.FLAG:
            return Flags(column.source, where)
        if column.kind == parquet.TEXTS:
            return Texts(column.source, where, self._room, _ALSO.get(column.name), column.words)
        numbers = Sizes if column.name.endswith("_bytes") else Numbers
        return numbers(column.source, column.kind, where, column.nullable)


class _Group:
    """A row group that fills up."""

    def __init__(self, writer: ParquetWriter, builders: Mapping[str, Builder]) -> None:
        self._writer, self._builders = writer, builders
        self._waiting = 0

    def add(self, records: Records) -> None:
        if not records:
            return
        for each in self._builders.values():
            each.add(records)
        self._waiting += len(records)
        if self._waiting >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._writer.add({name: each.take() for name, each in self._builders.items()})
            self._waiting = 0


def _chunks(records: Records, room: Room) -> Iterator[tuple[int, Records]]:
    """Some records at a time, with the position of the first."""
    room.records(len(records))
    for start in range(0, len(records), _CHUNK_RECORDS):
        yield start, records[start : start + _CHUNK_RECORDS]

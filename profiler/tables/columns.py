"""Batches of events into frames, one a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any
from zlib import crc32

import polars as pl

from profiler.tables import schema
from profiler.tables.events import ABSENT, Args, Event
from profiler.tables.losses import Losses
from profiler.tables.schema import Column, Table

# Phases of events that other columns already tell: flow arrows repeat `correlation`.
_FLOWS = ("s", "t", "f")
_LONGEST_NS = 1 << 53
_BY_CATEGORY = {category: table.name for table in schema.TABLES.values() for category in table.categories}
_RAW_SOURCES = frozenset(
    f"args.{name}"
    for name in (
        *("grid", "block", "input_dims", "input_types", "input_strides", "concrete_inputs"),
        *("group", "group_ranks"),
    )
)


def split(batch: Sequence[Event], losses: Losses) -> dict[str, list[Event]]:
    """Events by the table that takes them; file order is kept inside each."""
    tables: dict[str, list[Event]] = {name: [] for name in schema.TABLES}
    by_category = {category: tables[name].append for category, name in _BY_CATEGORY.items()}
    host = tables["host"].append
    for event in batch:
        if event.ph == "X":
            by_category.get(event.cat, host)(event)
        elif event.ph not in _FLOWS:
            _split_rare(event, tables, losses)
    return tables


def _split_rare(event: Event, tables: dict[str, list[Event]], losses: Losses) -> None:
    if event.ph in ("i", "I", "R"):
        tables["memory" if event.name == "[memory]" else "instants"].append(event)
    elif event.ph == "M":
        tables["tracks"].append(event)
    else:
        losses.add(f"events of phase {event.ph[:8]!r} are not read")


def frame(table: Table, rows: list[Event], rank: int, losses: Losses) -> pl.DataFrame:
    """One table's rows as columns.

    Rows without a time, or with a duration that no span can have, are left out and counted.
    """
    args = [row.args for row in rows]
    columns = [_column(column, rows, args) for column in table.columns]
    result = pl.DataFrame(columns).with_columns(pl.lit(rank, pl.Int32).alias("rank"))
    return _drop_timeless(result, losses)


def _drop_timeless(rows: pl.DataFrame, losses: Losses) -> pl.DataFrame:
    for column, why, bad in _CHECKS:
        if column in rows.columns:
            count = rows.select(bad.sum()).item()
            if count:
                losses.add(why, count)
                rows = rows.filter(~bad)
    return rows


_CHECKS = (
    ("ts_ns", "no readable start time", pl.col("ts_ns").is_null()),
    ("dur_ns", "no readable duration", pl.col("dur_ns").is_null()),
    ("dur_ns", "negative duration", pl.col("dur_ns") < 0),
)


def _column(column: Column, rows: list[Event], args: list[Args]) -> pl.Series:
    if column.source.startswith("args."):
        values = list(map(attrgetter(column.source.removeprefix("args.")), args))
    elif column.source:
        values = list(map(attrgetter(column.source), rows))
    else:
        values = [_DERIVED[column.name](row) for row in rows]
    build = _BUILDERS.get(column.name) or (_raw if column.source in _RAW_SOURCES else _plain)
    return build(column, values).alias(column.name)


def _plain(column: Column, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(values, dtype=column.dtype)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        # An integer that no 64-bit column holds: the value is absent, the event stays.
        return pl.Series(values, dtype=pl.Object).map_elements(_bounded, return_dtype=column.dtype)


def _bounded(value: Any) -> Any:
    return value if not isinstance(value, int) or -(1 << 63) <= value < 1 << 63 else None


def _raw(_column: Column, values: list[Any]) -> pl.Series:
    if values.count(ABSENT) == len(values):
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(values))
    # JSON text holds no zero byte: all at once is three times as fast as one by one.
    decoded = b"\0".join(values).decode("utf-8", "replace").split("\0")
    if len(decoded) != len(values):
        decoded = [str(value, "utf-8", "replace") for value in values]
    texts = pl.Series("text", decoded, dtype=pl.String)
    return texts.to_frame().select(pl.when(pl.col("text") != "").then(pl.col("text"))).to_series()


def _nanoseconds(_column: Column, values: list[Any]) -> pl.Series:
    """Microseconds with three decimals to integer nanoseconds, exactly: the whole and the fraction are scaled apart,
    because their product in one float would round a second time."""
    us = pl.Series("us", values, dtype=pl.Float64)
    whole = pl.col("us").floor()
    ns = whole.cast(pl.Int64, strict=False) * 1000 + ((pl.col("us") - whole) * 1000).round().cast(pl.Int64, strict=False)
    # Beyond 2^53 a time is no time, and the product above would overflow.
    return us.to_frame().select(pl.when(pl.col("us").abs() < 2.0**53).then(ns)).to_series()


def _durations(column: Column, values: list[Any]) -> pl.Series:
    """A length that no run has (a hundred days) is no length: a few of them would overflow every sum."""
    ns = _nanoseconds(column, values)
    return ns.to_frame("ns").select(pl.when(pl.col("ns") < _LONGEST_NS).then(pl.col("ns"))).to_series()


def _ids(_column: Column, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(values, dtype=pl.Int64)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return _ids_one_by_one(values)


def _ids_one_by_one(values: list[Any]) -> pl.Series:
    """Most are numbers all the same: only the texts among them need a look."""
    try:
        return pl.Series([each if type(each) is int else track_id(each) for each in values], dtype=pl.Int64)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(list(map(track_id, values)), dtype=pl.Int64)


def track_id(value: int | str) -> int:
    """A process or thread id as a number: text that is none becomes a negative number, the same one in every trace."""
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else -1 - crc32(str(value).encode())
    try:
        return track_id(int(value))
    except ValueError:
        return -1 - crc32(value.encode())


def _first_text(*values: object) -> str | None:
    return next((str(value) for value in values if value is not None), None)


_Build = Callable[[Column, list[Any]], pl.Series]
_BUILDERS: dict[str, _Build] = {"ts_ns": _nanoseconds, "dur_ns": _durations, "pid": _ids, "tid": _ids}

# Columns that no single place in an event holds.
_DERIVED: dict[str, Callable[[Event], str | None]] = {
    "value": lambda event: _first_text(event.args.track_name, event.args.labels, event.args.sort_index),
    "pid_text": lambda event: str(event.pid),
    "tid_text": lambda event: str(event.tid),
}

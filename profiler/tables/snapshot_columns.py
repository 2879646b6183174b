"""A snapshot's records as frames: column by column, without a copy of any record."""

from __future__ import annotations

from typing import Any

import polars as pl

from profiler.tables import snapshot_schema as schema
from profiler.tables.losses import Losses
from profiler.tables.schema import Table
from profiler.tables.snapshot_records import Records
from profiler.tables.snapshot_shape import Snapshot, WrongShape
from profiler.tables.snapshot_stacks import Stacks, texts

# What torch writes where no frame was being compiled.
_NO_CONTEXT = ("N/A",)
# torch's documentation has a name of its own for one state.
_STATE_ALSO = {"active_awaiting_free": "active_pending_free"}


def frames_of(snapshot: Snapshot, rank: int, losses: Losses) -> dict[str, pl.DataFrame]:
    """The tables of a snapshot; events of actions that are not known are left out and counted.

    Raises:
        WrongShape: a value that cannot be what it should be.
    """
    stacks = Stacks()
    empty = pl.DataFrame(schema=schema.EVENTS.dtypes)
    events = [_events(trace, device, rank, stacks, losses) for device, trace in enumerate(snapshot.traces) if trace]
    found = {
        "events": pl.concat([empty, *events]),
        "blocks": _blocks(snapshot.blocks, rank, stacks),
        "segments": _segments(snapshot.segments, rank, stacks),
        "annotations": _annotations(snapshot.annotations, rank),
    }
    return found | {"stacks": stacks.frame(rank)}


def _frame(table: Table, columns: dict[str, Any], rank: int) -> pl.DataFrame:
    """The columns in the table's order; what is one value for all rows is repeated."""
    frame = pl.DataFrame({name: values for name, values in columns.items() if isinstance(values, pl.Series)})
    fixed = {name: value for name, value in (columns | {"rank": rank}).items() if not isinstance(value, pl.Series)}
    dtypes = table.dtypes
    return frame.with_columns(pl.lit(value, dtypes[name]).alias(name) for name, value in fixed.items()).select(
        pl.col(name).cast(dtype) for name, dtype in dtypes.items()
    )


def _events(trace: list[dict[str, Any]], device: int, rank: int, stacks: Stacks, losses: Losses) -> pl.DataFrame:
    read = Records(trace, f"device_traces[{device}]")
    words = texts(read.values("action"), "action of an event")
    pool_a, pool_b = read.pools("pool_id")
    columns = {
        "index": pl.int_range(len(trace), dtype=pl.UInt32, eager=True),
        "device": device,
        "time_us": read.integers("time_us", pl.Int64, required=False),
        "action": words.cast(pl.Enum(schema.ACTIONS), strict=False),
        "address": read.integers("addr", pl.UInt64, required=False),
        "size_bytes": read.integers("size", pl.UInt64),
        "stream": read.integers("stream", pl.UInt64),
        "stack": read.stacks("frames", stacks),
        "compile_context": read.texts("compile_context", _NO_CONTEXT),
        "user_metadata": read.texts("user_metadata"),
        "device_free_bytes": read.integers("device_free", pl.UInt64, required=False),
        "pool_a": pool_a,
        "pool_b": pool_b,
    }
    return _known(_frame(schema.EVENTS, columns, rank), words, losses)


def _known(events: pl.DataFrame, words: pl.Series, losses: Losses) -> pl.DataFrame:
    """The events of known actions; those that are not are counted."""
    unknown = events["action"].is_null()
    if unknown.any():
        for word, count in words.filter(unknown).value_counts().rows():
            losses.add(f"events of action {str(word)[:80]!r} are not known", count)
        events = events.filter(~unknown)
    beside_oom = events.filter(pl.col("action") != "oom")
    if beside_oom["address"].null_count():
        raise WrongShape("an event has no 'addr'")
    Records.check_sizes(beside_oom["size_bytes"], "size", "an event")
    return events


def _blocks(blocks: list[dict[str, Any]], rank: int, stacks: Stacks) -> pl.DataFrame:
    read = Records(blocks, "blocks")
    columns = {
        "device": read.integers("device", pl.Int32),
        "segment_address": read.integers("segment_address", pl.UInt64),
        "address": read.integers("address", pl.UInt64),
        "size_bytes": read.sizes("size"),
        "requested_bytes": read.sizes("requested_size"),
        "state": read.words("state", schema.STATES, _STATE_ALSO),
        "stack": read.stacks("frames", stacks),
    }
    return _frame(schema.BLOCKS, columns, rank)


def _segments(segments: list[dict[str, Any]], rank: int, stacks: Stacks) -> pl.DataFrame:
    read = Records(segments, "segments")
    pool_a, pool_b = read.pools("segment_pool_id")
    columns = {
        "device": read.integers("device", pl.Int32),
        "address": read.integers("address", pl.UInt64),
        "total_bytes": read.sizes("total_size"),
        "allocated_bytes": read.sizes("allocated_size"),
        "active_bytes": read.sizes("active_size"),
        "requested_bytes": read.sizes("requested_size", required=False),
        "stream": read.integers("stream", pl.UInt64),
        "kind": read.words("segment_type", schema.KINDS),
        "pool_a": pool_a,
        "pool_b": pool_b,
        "expandable": read.flags("is_expandable"),
        "stack": read.stacks("frames", stacks),
    }
    return _frame(schema.SEGMENTS, columns, rank)


def _annotations(annotations: list[dict[str, Any]], rank: int) -> pl.DataFrame:
    read = Records(annotations, "external_annotations")
    columns = {
        "time_us": read.integers("time_us", pl.Int64),
        "stage": read.words("stage", ("START", "END")),
        "name": read.texts("name"),
        "device": read.integers("device", pl.Int32),
    }
    return _frame(schema.ANNOTATIONS, columns, rank)

"""Every table of a CUDA memory snapshot and every column in it. Times are epoch microseconds, as the allocator writes them."""

from __future__ import annotations

import polars as pl

from profiler.tables.schema import Column, Table

# Raised when a table of a snapshot gains, loses or changes a column.
SNAPSHOT_VERSION = 3
NO_STACK = -1

ACTIONS = (
    "alloc",
    "free_requested",
    "free_completed",
    "segment_alloc",
    "segment_free",
    "segment_map",
    "segment_unmap",
    "snapshot",
    "oom",
)
STATES = ("active_allocated", "active_pending_free", "inactive")
KINDS = ("large", "small")

_DEVICE = Column("device", pl.Int32, "device", "CUDA device index")
_STREAM = Column("stream", pl.UInt64, "stream", "the CUDA stream's handle; 0 is the default stream")
_STACK = Column("stack", pl.Int32, "frames", f"row group of `stacks`; {NO_STACK} where no frames were recorded")
_POOL = "(0, 0) is the default pool, others belong to CUDA graphs and user pools; null where torch did not say"
_POOL_A = Column("pool_a", pl.Int64, "pool id", f"first half of the pool's id: {_POOL}")
_POOL_B = Column("pool_b", pl.Int64, "pool id", f"second half of the pool's id: {_POOL}")

EVENTS = Table(
    "events",
    "what the allocator did, oldest first, device after device",
    frozenset(),
    (
        Column("index", pl.UInt32, "", "position in the device's trace"),
        _DEVICE,
        Column("time_us", pl.Int64, "time_us", "when; null in snapshots of torch before 2.1"),
        Column("action", pl.Enum(ACTIONS), "action", "one of `ACTIONS`"),
        Column("address", pl.UInt64, "addr", "address of the block or segment; null for `oom`"),
        Column(
            "size_bytes",
            pl.UInt64,
            "size",
            "requested bytes of an allocation or free, bytes of a segment, bytes asked for at `oom`",
        ),
        _STREAM,
        _STACK,
        Column("compile_context", pl.String, "compile_context", "compile id at the time; empty where none"),
        Column("user_metadata", pl.String, "user_metadata", "text set by _set_memory_metadata; empty where none"),
        Column("device_free_bytes", pl.UInt64, "device_free", "bytes that the device had free; only for `oom`"),
        _POOL_A,
        _POOL_B,
    ),
)

BLOCKS = Table(
    "blocks",
    "every block of every segment when the snapshot was taken",
    frozenset(),
    (
        _DEVICE,
        Column("segment_address", pl.UInt64, "", "the segment that it lies in"),
        Column("address", pl.UInt64, "address", "where it begins"),
        Column("size_bytes", pl.UInt64, "size", "its length, rounded up by the allocator"),
        Column("requested_bytes", pl.UInt64, "requested_size", "what its (last) owner asked for"),
        Column("state", pl.Enum(STATES), "state", "one of `STATES`"),
        _STACK,
    ),
)

SEGMENTS = Table(
    "segments",
    "memory that the allocator holds of the device",
    frozenset(),
    (
        _DEVICE,
        Column("address", pl.UInt64, "address", "where it begins"),
        Column("total_bytes", pl.UInt64, "total_size", "its length"),
        Column("allocated_bytes", pl.UInt64, "allocated_size", "in use, rounded"),
        Column("active_bytes", pl.UInt64, "active_size", "in use, or waiting for a stream to be done with it"),
        Column("requested_bytes", pl.UInt64, "requested_size", "what the owners of its blocks asked for; null before torch 2.0"),
        _STREAM,
        Column("kind", pl.Enum(KINDS), "segment_type", "'large' or 'small' pool"),
        _POOL_A,
        _POOL_B,
        Column("expandable", pl.Boolean, "is_expandable", "part of an expandable segment"),
        _STACK,
    ),
)

STACKS = Table(
    "stacks",
    "the distinct stacks, a row a frame",
    frozenset(),
    (
        Column("stack", pl.Int32, "", "id, as in `stack` of the other tables"),
        Column("depth", pl.Int16, "", "0 is the innermost frame"),
        Column("name", pl.String, "name", "function"),
        Column("file", pl.String, "filename", "source file"),
        Column("line", pl.Int64, "line", "line in it; -1 where Python knew none"),
    ),
)

ANNOTATIONS = Table(
    "annotations",
    "starts and ends of record_function ranges",
    frozenset(),
    (
        Column("time_us", pl.Int64, "time_us", "when"),
        Column("stage", pl.Enum(("START", "END")), "stage", "which end"),
        Column("name", pl.String, "name", "the range"),
        _DEVICE,
    ),
)

TABLES = {each.name: each for each in (EVENTS, BLOCKS, SEGMENTS, STACKS, ANNOTATIONS)}

"""The tables of a CUDA memory snapshot, as the process that reads one writes them. `snapshot_schema` is the same for readers.

Times are epoch microseconds, as the allocator writes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from profiler.tables.parquet import FLAG, INT16, INT32, INT64, TEXTS, UINT32, UINT64, Kind

# Raised when a table of a snapshot gains, loses or changes a column.
SNAPSHOT_VERSION = 4
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
STAGES = ("START", "END")


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        source: the key of a record that holds the value; empty for what the reader derives.
        words: the only texts that stand in it; empty where any may.
    """

    name: str
    kind: Kind
    source: str
    doc: str
    nullable: bool = False
    words: tuple[str, ...] = ()


_DEVICE = Column("device", INT32, "device", "CUDA device index")
_STREAM = Column("stream", UINT64, "stream", "the CUDA stream's handle; 0 is the default stream")
_STACK = Column("stack", INT32, "frames", f"row group of `stacks`; {NO_STACK} where no frames were recorded")
_RANK = Column("rank", INT32, "", "the process")
_POOL = "of the pool's id: (0, 0) is the default pool, others belong to CUDA graphs and user pools; null where torch did not say"

EVENTS = (
    Column("index", UINT32, "", "position in the device's trace"),
    Column("device", INT32, "", "CUDA device index"),
    Column("time_us", INT64, "time_us", "when; null in snapshots of torch before 2.1", nullable=True),
    Column("action", TEXTS, "action", "what the allocator did", words=ACTIONS),
    Column("address", UINT64, "addr", "address of the block or segment; null for `oom`", nullable=True),
    Column("size_bytes", UINT64, "size", "requested bytes of an allocation or free, bytes of a segment, asked for at `oom`"),
    _STREAM,
    _STACK,
    Column("compile_context", TEXTS, "compile_context", "compile id at the time; empty where none"),
    Column("user_metadata", TEXTS, "user_metadata", "text set by _set_memory_metadata; empty where none"),
    Column("device_free_bytes", UINT64, "device_free", "bytes that the device had free; only for `oom`", nullable=True),
    Column("pool_a", INT64, "pool_id", f"first half {_POOL}", nullable=True),
    Column("pool_b", INT64, "pool_id", f"second half {_POOL}", nullable=True),
    _RANK,
)

BLOCKS = (
    _DEVICE,
    Column("segment_address", UINT64, "segment_address", "the segment that it lies in"),
    Column("address", UINT64, "address", "where it begins"),
    Column("size_bytes", UINT64, "size", "its length, rounded up by the allocator"),
    Column("requested_bytes", UINT64, "requested_size", "what its (last) owner asked for"),
    Column("state", TEXTS, "state", "in use, waiting for a stream, or free", words=STATES),
    _STACK,
    _RANK,
)

SEGMENTS = (
    _DEVICE,
    Column("address", UINT64, "address", "where it begins"),
    Column("total_bytes", UINT64, "total_size", "its length"),
    Column("allocated_bytes", UINT64, "allocated_size", "in use, rounded"),
    Column("active_bytes", UINT64, "active_size", "in use, or waiting for a stream to be done with it"),
    Column(
        "requested_bytes", UINT64, "requested_size", "what owners of its blocks asked for; null before torch 2.0", nullable=True
    ),
    _STREAM,
    Column("kind", TEXTS, "segment_type", "of large or of small blocks", words=KINDS),
    Column("pool_a", INT64, "segment_pool_id", f"first half {_POOL}", nullable=True),
    Column("pool_b", INT64, "segment_pool_id", f"second half {_POOL}", nullable=True),
    Column("expandable", FLAG, "is_expandable", "part of an expandable segment"),
    _STACK,
    _RANK,
)

STACKS = (
    Column("stack", INT32, "", "id, as in `stack` of the other tables"),
    Column("depth", INT16, "", "0 is the innermost frame"),
    Column("name", TEXTS, "name", "function"),
    Column("file", TEXTS, "filename", "source file"),
    Column("line", INT64, "line", "line in it; -1 where Python knew none"),
    _RANK,
)

ANNOTATIONS = (
    Column("time_us", INT64, "time_us", "when"),
    Column("stage", TEXTS, "stage", "which end", words=STAGES),
    Column("name", TEXTS, "name", "the range"),
    _DEVICE,
    _RANK,
)

TABLES = {
    "events": (EVENTS, "what the allocator did, oldest first, device after device"),
    "blocks": (BLOCKS, "every block of every segment when the snapshot was taken"),
    "segments": (SEGMENTS, "memory that the allocator holds of the device"),
    "stacks": (STACKS, "the distinct stacks, a row a frame"),
    "annotations": (ANNOTATIONS, "starts and ends of record_function ranges"),
}

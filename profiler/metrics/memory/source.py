"""What a recorder saw of one device memory, in one shape: a CUDA snapshot's events, or the profiler's of a CPU run."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from profiler.rundir import layout
from profiler.tables.run import Run

ALLOC, FREE_REQUESTED, FREE = "alloc", "free_requested", "free_completed"
MEMORY_PART, LOAD_PART = "memory", "load"
ARTIFACTS = {MEMORY_PART: layout.MEMORY, LOAD_PART: layout.MEMORY_LOAD}

EVENTS = {
    "index": pl.Int64,
    "device": pl.Int32,
    "time_us": pl.Int64,
    "action": pl.String,
    "address": pl.UInt64,
    "size_bytes": pl.Int64,
    "device_free_bytes": pl.Int64,
    "stack": pl.Int32,
    "region": pl.String,
    "module": pl.String,
    "operator": pl.String,
    "call": pl.Int64,
    "pooled": pl.Boolean,
}
# The region of what Dynamo allocates while it compiles, where only that is known.
COMPILING_REGION = "compiling"
HELD = {"device": pl.Int32, "address": pl.UInt64, "size_bytes": pl.Int64, "stack": pl.Int32}
STACKS = {"stack": pl.Int32, "depth": pl.Int16, "name": pl.String, "file": pl.String, "line": pl.Int64}
SEGMENTS = {
    "device": pl.Int32,
    "address": pl.UInt64,
    "total_bytes": pl.Int64,
    "pooled": pl.Boolean,
    "expandable": pl.Boolean,
}
FREE_BLOCKS = {"device": pl.Int32, "address": pl.UInt64, "size_bytes": pl.Int64}


@dataclass(frozen=True)
class Recording:
    """Allocator events and what lived when they ended.

    Args:
        kind: "cuda" or "cpu".
        events: in order over all devices: index (0, 1, ...), device, time_us, action, address, size_bytes (requested),
            device_free_bytes (of an `oom`), stack, region (compiled region, "" outside), module ("" outside, or not recorded),
            operator (a role of workspaces, where the event lies in a call of such an operator; of CPU runs), call (its number),
            pooled (in a private pool, as far as events say so).
        held: blocks that lived at the end: device, address, size_bytes (requested), stack.
        stacks: frames of the stacks: stack, depth (0 innermost), name, file, line.
        segments: what the allocator held of the device at the end: device, address, total_bytes, pooled (of a private pool),
            expandable.
        free_blocks: what of it was free at the end: device, address, size_bytes.
        marks: annotations of the call's windows: time_us, stage (START or END), name.
        lost: events that could not be read, by reason.
    """

    kind: str
    events: pl.DataFrame
    held: pl.DataFrame
    stacks: pl.DataFrame
    segments: pl.DataFrame
    free_blocks: pl.DataFrame
    marks: pl.DataFrame
    lost: dict[str, int] = field(default_factory=dict)


def artifact_of(run: Run, rank: int, part: str) -> str:
    """The artifact that holds a part's memory events.

    Raises:
        UnreadableInput: the run holds none.
    """
    snapshot = ARTIFACTS[part]
    if run.has(snapshot, rank):
        return snapshot
    if part == MEMORY_PART and run.has(layout.MEMORY_TRACE, rank):
        return layout.MEMORY_TRACE
    raise run.lacks(run.artifact(snapshot, rank), "record it again, or import a snapshot with --memory")


def has_part(run: Run, rank: int = 0, part: str = MEMORY_PART) -> bool:
    """Whether a run has memory events of a part."""
    return run.has(ARTIFACTS[part], rank) or (part == MEMORY_PART and run.has(layout.MEMORY_TRACE, rank))

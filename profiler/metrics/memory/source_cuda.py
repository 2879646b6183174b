"""A CUDA snapshot as a `source.Recording`."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from profiler.metrics.memory.source import EVENTS, FREE_BLOCKS, HELD, SEGMENTS, STACKS, Recording
from profiler.rundir import layout
from profiler.tables.run import Run

DataType = pl.DataType | type[pl.DataType]

_DEFAULT_POOL = (pl.col("pool_a") == 0) & (pl.col("pool_b") == 0)


def read_snapshot(run: Run, rank: int, artifact: str) -> Recording:
    """The snapshot `artifact` of a rank.

    Raises:
        UnreadableInput: it is missing or cannot be read.
    """
    snapshot = run.snapshot(rank, artifact)
    blocks = snapshot.frame("blocks").with_columns(pl.col("state").cast(pl.String))
    active = pl.col("state") != "inactive"
    return Recording(
        kind="cuda",
        events=_events(snapshot.frame("events")),
        # A block that waits for a stream still counts as requested.
        held=_cast(blocks.filter(active).drop("size_bytes").rename({"requested_bytes": "size_bytes"}), HELD),
        stacks=_cast(snapshot.frame("stacks"), STACKS),
        segments=_cast(snapshot.frame("segments").with_columns((~_DEFAULT_POOL).fill_null(False).alias("pooled")), SEGMENTS),
        free_blocks=_cast(blocks.filter(~active), FREE_BLOCKS),
        marks=_marks(snapshot.frame("annotations")),
        lost=snapshot.lost,
    )


def _events(events: pl.DataFrame) -> pl.DataFrame:
    """All devices in one order: by time, and of one device in the order of its own trace."""
    renamed = events.rename({"compile_context": "region", "user_metadata": "module"}).drop("index")
    if renamed["device"].n_unique() > 1:
        renamed = renamed.sort("time_us", "device", maintain_order=True)
    return _cast(renamed.with_row_index("index"), EVENTS)


def _cast(frame: pl.DataFrame, dtypes: Mapping[str, DataType]) -> pl.DataFrame:
    """The named columns, as the recording wants them."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in dtypes.items())


def _marks(annotations: pl.DataFrame) -> pl.DataFrame:
    ours = annotations.filter(pl.col("name").str.starts_with(layout.MARK_PREFIX))
    return ours.select("time_us", pl.col("stage").cast(pl.String), "name")

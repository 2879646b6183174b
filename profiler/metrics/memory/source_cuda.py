"""A CUDA snapshot as a `source.Recording`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from profiler.metrics.memory.source import EVENTS, FREE_BLOCKS, HELD, SEGMENTS, STACKS, Recording
from profiler.rundir import layout
from profiler.tables.run import Run

DataType = pl.DataType | type[pl.DataType]

_PRIVATE = ((pl.col("pool_a") != 0) | (pl.col("pool_b") != 0)).fill_null(False).alias("pooled")


def read_snapshot(run: Run, rank: int, artifact: str) -> Recording:
    """The snapshot `artifact` of a rank.

    Raises:
        UnreadableInput: it is missing or cannot be read.
    """
    snapshot = run.snapshot(rank, artifact)
    return recording_of(snapshot.frame, snapshot.lost)


def recording_of(table: Callable[[str], pl.DataFrame], lost: dict[str, int]) -> Recording:
    """A recording from the tables of a snapshot, by their names."""
    blocks = table("blocks").with_columns(pl.col("state").cast(pl.String))
    active = pl.col("state") != "inactive"
    return Recording(
        kind="cuda",
        events=_events(table("events")),
        # A block that waits for a stream still counts as requested.
        held=_cast(blocks.filter(active).drop("size_bytes").rename({"requested_bytes": "size_bytes"}), HELD),
        stacks=_cast(table("stacks"), STACKS),
        segments=_cast(table("segments").with_columns(_PRIVATE), SEGMENTS),
        free_blocks=_cast(blocks.filter(~active), FREE_BLOCKS),
        marks=_marks(table("annotations")),
        lost=lost,
    )


def _events(events: pl.DataFrame) -> pl.DataFrame:
    """All devices in one order: by time, and of one device in the order of its own trace."""
    unknown = (pl.lit("").alias("operator"), pl.lit(None).alias("call"), _PRIVATE)
    renamed = events.rename({"compile_context": "region", "user_metadata": "module"}).drop("index").with_columns(unknown)
    if renamed["device"].n_unique() > 1:
        renamed = renamed.sort("time_us", "device", maintain_order=True)
    return _cast(renamed.with_row_index("index"), EVENTS)


def _cast(frame: pl.DataFrame, dtypes: Mapping[str, DataType]) -> pl.DataFrame:
    """The named columns, as the recording wants them."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in dtypes.items())


def _marks(annotations: pl.DataFrame) -> pl.DataFrame:
    ours = annotations.filter(pl.col("name").str.starts_with(layout.MARK_PREFIX))
    return ours.select("time_us", pl.col("stage").cast(pl.String), "name")

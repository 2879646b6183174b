"""What the allocator holds of the device beside what is live: reserved bytes, free bytes, and how far they lie in pieces."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from profiler.metrics.memory.intervals import BEFORE_RECORDING, live_intervals
from profiler.metrics.memory.live import alive_at
from profiler.metrics.memory.source import ALLOC, FREE, Recording

_SIGN = {"segment_alloc": 1, "segment_map": 1, "segment_free": -1, "segment_unmap": -1}
_CHANGES = {*_SIGN, ALLOC, FREE}
_AS_BLOCKS = {"segment_alloc": ALLOC, "segment_free": FREE}
# Blocks begin and end at multiples of this.
_GRAIN_BYTES = 512


@dataclass(frozen=True)
class FreeMemory:
    """What is reserved and free right after one event.

    Args:
        reserved_bytes: held of the device.
        live_bytes: requested by what lives.
        free_bytes: reserved, and not in use.
        largest_free_bytes: the largest free piece: what still fits without asking the device; None where it cannot be known.
        pieces: number of free pieces, None as above.
        expandable_bytes: reserved in expandable segments, at the end of the recording.
        exact: from the blocks themselves; else from requests rounded up to 512 bytes, which free_bytes and largest_free_bytes
            may exceed what the allocator would give by.
    """

    reserved_bytes: int
    live_bytes: int
    free_bytes: int
    largest_free_bytes: int | None
    pieces: int | None
    expandable_bytes: int
    exact: bool


def reserved_bytes(recording: Recording) -> pl.DataFrame:
    """Reserved bytes over the events: index, reserved_bytes, a row where they change, and index -1; empty where not known."""
    if recording.segments.is_empty():
        return pl.DataFrame(schema={"index": pl.Int64, "reserved_bytes": pl.Int64})
    sign = pl.col("action").replace_strict(_SIGN, default=0, return_dtype=pl.Int64)
    events = recording.events.filter(pl.col("action").is_in(list(_SIGN)))
    steps = events.select("index", (sign * pl.col("size_bytes")).alias("delta"))
    before = int(recording.segments["total_bytes"].sum()) - int(steps["delta"].sum())
    first = pl.DataFrame({"index": [BEFORE_RECORDING], "delta": [before]}, schema=steps.schema)
    return pl.concat([first, steps]).select("index", pl.col("delta").cum_sum().alias("reserved_bytes"))


def free_memory(recording: Recording, rows: pl.DataFrame, index: int) -> FreeMemory | None:
    """What is reserved and free right after event `index`; None where no segments are known (a CPU run).

    Args:
        rows: `allocations`.
    """
    held = reserved_bytes(recording)
    if held.is_empty():
        return None
    live = alive_at(rows, index)
    reserved = int(held.filter(pl.col("index") <= index)["reserved_bytes"][-1])
    pieces, exact = _pieces(recording, live, index)
    free = int(pieces.sum()) if pieces is not None else reserved - int(_rounded(live)["size_bytes"].sum())
    return FreeMemory(
        reserved_bytes=reserved,
        live_bytes=int(live["size_bytes"].sum()),
        free_bytes=free,
        largest_free_bytes=None if pieces is None else int(pieces.max() or 0),  # type: ignore[arg-type]
        pieces=None if pieces is None else pieces.len(),
        expandable_bytes=int(recording.segments.filter("expandable")["total_bytes"].sum()),
        exact=exact,
    )


def free_pieces(recording: Recording, rows: pl.DataFrame, index: int) -> pl.Series | None:
    """Sizes in bytes of the free pieces right after event `index`; None where they are not known. `rows` are `allocations`."""
    if recording.segments.is_empty():
        return None
    return _pieces(recording, alive_at(rows, index), index)[0]


def _pieces(recording: Recording, live: pl.DataFrame, index: int) -> tuple[pl.Series | None, bool]:
    """The free pieces at a moment, and whether they are the allocator's own. Parts of expandable segments come and go."""
    last = recording.events.filter(pl.col("action").is_in(list(_CHANGES)))["index"].max()
    if last is None or index >= int(last):  # type: ignore[arg-type]
        return recording.free_blocks["size_bytes"], True
    if recording.segments["expandable"].any() or (recording.events["action"] == "segment_unmap").any():
        return None, False
    return _gaps(_segments_at(recording, index), _rounded(live)), False


def _segments_at(recording: Recording, index: int) -> pl.DataFrame:
    events = recording.events.filter(pl.col("action").is_in(list(_AS_BLOCKS)))
    renamed = events.with_columns(pl.col("action").replace_strict(_AS_BLOCKS))
    ended = recording.segments.rename({"total_bytes": "size_bytes"}).with_columns(pl.lit(-1, pl.Int32).alias("stack"))
    return alive_at(live_intervals(renamed, ended.select("device", "address", "size_bytes", "stack")).rows, index)


def _rounded(live: pl.DataFrame) -> pl.DataFrame:
    return live.with_columns(((pl.col("size_bytes") + _GRAIN_BYTES - 1) // _GRAIN_BYTES * _GRAIN_BYTES).alias("size_bytes"))


def _gaps(segments: pl.DataFrame, live: pl.DataFrame) -> pl.Series:
    """Stretches of segments that no live block covers: from a segment's or block's end of use to the next block or the end."""
    end = (pl.col("address") + pl.col("size_bytes").cast(pl.UInt64)).alias("end")
    ranges = segments.select("device", "address", end).sort("address").with_row_index("segment")
    used = live.select("device", "address", end).sort("address")
    placed = used.join_asof(ranges, on="address", by="device", suffix="_segment", check_sortedness=False)
    marks = [
        ranges.select("segment", pl.col("address").alias("start"), pl.col("address").alias("until")),
        placed.select("segment", pl.col("address").alias("start"), pl.col("end").alias("until")),
        ranges.select("segment", pl.col("end").alias("start"), pl.col("end").alias("until")),
    ]
    ordered = pl.concat(marks).drop_nulls().sort("segment", "start", "until", maintain_order=True)
    before = pl.col("until").cast(pl.Int64, strict=False).shift(1).over("segment")
    gaps = ordered.select((pl.col("start").cast(pl.Int64, strict=False) - before).alias("gap")).filter(pl.col("gap") > 0)
    return gaps["gap"]

"""Segments that a recorded call never touches: held of the device for nothing."""

from __future__ import annotations

import polars as pl

from profiler.metrics.memory.allocations import Study

# Segments that come or go while recording have no use that could be told for the whole of it.
_MOVING = ("segment_alloc", "segment_free", "segment_map", "segment_unmap")


def unused_bytes(found: Study) -> int | None:
    """Bytes of whole segments in which nothing lived at any time of the recording: `torch.cuda.empty_cache()` before it would
    give them back, and it would run the same. None where segments came or went, or none are known.
    """
    segments = found.recording.segments
    if segments.is_empty() or found.recording.events["action"].is_in(_MOVING).any():
        return None
    end = (pl.col("address") + pl.col("total_bytes").cast(pl.UInt64)).alias("segment_end")
    ranges = segments.select("device", pl.col("address").alias("segment"), end, "total_bytes").sort("segment")
    used = found.rows.select("device", "address").unique().sort("address")
    placed = used.join_asof(ranges, left_on="address", right_on="segment", by="device", check_sortedness=False)
    touched = placed.filter(pl.col("address") < pl.col("segment_end")).select("device", "segment").unique()
    return int(ranges.join(touched, on=["device", "segment"], how="anti")["total_bytes"].sum())

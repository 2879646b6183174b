"""Events by their number: they are numbered 0, 1, ... in order, so no join is needed."""

from __future__ import annotations

import polars as pl


def at_index(events: pl.DataFrame, index: pl.Series) -> pl.DataFrame:
    """The rows of `events` (all events of a recording, in order) at each index; null where it is null or before the recording."""
    known = index.to_frame("index").select(pl.when(pl.col("index") >= 0).then("index").cast(pl.get_index_type()))
    return events[known.to_series()]

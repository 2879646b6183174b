"""What the events of a snapshot leave out, as far as the snapshot shows it: the allocator keeps its latest `max_entries` only."""

from __future__ import annotations

import polars as pl

_PLACE = ("device", "address")
# What changes the owner of an address.
_OWNERS = ("alloc", "free_requested", "free_completed")


def history(events: pl.LazyFrame, blocks: pl.LazyFrame, recorded: list[int], max_entries: int | None = None) -> pl.DataFrame:
    """One row a device that has events or blocks in use.

    Columns: `device`; `events`; `first_us`, `last_us` (times of the first and last event);
    `frees_without_alloc`, `freed_without_alloc_bytes` (memory that was freed, and allocated before the first event);
    `completions_without_request` (the end of a free whose beginning came before the first event);
    `live_without_alloc`, `live_without_alloc_bytes` (blocks in use at the end, allocated before the first event; requested);
    `live_without_alloc_with_stack` (those of them that know their stack: history was on when they were allocated);
    `full` (the device holds `max_entries` events, so that earlier ones are lost; null where `max_entries` is not known).

    Memory from before the first event is no proof of a loss: recording may have begun after it was allocated.

    Args:
        recorded: events in the trace of each device, by its index.
        max_entries: what was given to torch.cuda.memory._record_memory_history.
    """
    owners = _owners(events)
    counts = (
        pl.LazyFrame({"events": recorded}, {"events": pl.Int64})
        .with_row_index("device")
        .with_columns(pl.col("device").cast(pl.Int32))
    )
    times = events.group_by("device").agg(first_us=pl.col("time_us").min(), last_us=pl.col("time_us").max())
    found = counts.filter(pl.col("events") > 0)
    for more in (times, _frees(owners), _live(owners, blocks)):
        found = found.join(more, on="device", how="full", coalesce=True)
    numbers = pl.all().exclude("device", "first_us", "last_us").fill_null(0)
    full = pl.lit(None, pl.Boolean) if max_entries is None else pl.col("events") >= max_entries
    return found.with_columns(numbers).with_columns(full=full).sort("device").collect()


def _owners(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events that change who has an address, with the one before at the same address."""
    kept = events.filter(pl.col("action").is_in(_OWNERS))
    return kept.select(
        "device", "address", "index", "size_bytes", "action", before=pl.col("action").shift(1).over(*_PLACE, order_by="index")
    )


def _frees(owners: pl.LazyFrame) -> pl.LazyFrame:
    orphan = (pl.col("action") == "free_requested") & (pl.col("before") != "alloc").fill_null(value=True)
    late = (pl.col("action") == "free_completed") & (pl.col("before") != "free_requested").fill_null(value=True)
    return owners.group_by("device").agg(
        frees_without_alloc=orphan.sum().cast(pl.Int64),
        freed_without_alloc_bytes=pl.col("size_bytes").filter(orphan).sum().cast(pl.Int64),
        completions_without_request=late.sum().cast(pl.Int64),
    )


def _live(owners: pl.LazyFrame, blocks: pl.LazyFrame) -> pl.LazyFrame:
    last = owners.group_by(_PLACE).agg(last=pl.col("action").sort_by("index").last())
    live = blocks.filter(pl.col("state") == "active_allocated").join(last, on=_PLACE, how="left")
    older = live.filter((pl.col("last") != "alloc").fill_null(value=True))
    return older.group_by("device").agg(
        live_without_alloc=pl.len().cast(pl.Int64),
        live_without_alloc_bytes=pl.col("requested_bytes").sum().cast(pl.Int64),
        live_without_alloc_with_stack=(pl.col("stack") >= 0).sum().cast(pl.Int64),
    )

"""The peak of a part of a run: when, what lived then, and what would have to shrink to lower it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from profiler.metrics.memory.allocations import Study, study
from profiler.metrics.memory.labels import BEFORE, UNKNOWN
from profiler.metrics.memory.live import alive_at, live_total, peak_of
from profiler.metrics.memory.losses import counted_peak, recorded_phases, why_lower_bound
from profiler.metrics.memory.reserved import FreeMemory, free_memory
from profiler.metrics.memory.shrink import with_relief
from profiler.metrics.memory.source import MEMORY_PART
from profiler.metrics.memory.stacks import with_stack_text
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

# Allocations listed at the peak, unless asked otherwise.
TOP = 20


@dataclass(frozen=True)
class MemoryPeak:
    """The highest live bytes of a part.

    Args:
        index: the event at which they are reached first; -1: before the first event.
        time_us: its time; None where no event has one.
        window: label of the window ("decode", "step/0"), else the phase of the run.
        requested_bytes: live requested bytes then.
        counted_bytes: the allocator's own peak of requested bytes; equal where the events are whole; None where nobody counted.
        allocated_bytes: `max_memory_allocated` of the phase; None where nobody counted.
        rounding_bytes: allocator rounding, `allocated_bytes` less `counted_bytes`; None as above.
        by_category, by_component, by_role: bytes by label, most first; each sums to requested_bytes.
        rows: the biggest live allocations: size_bytes, relief_bytes (by how much the peak falls if it alone were gone), category,
            component, role, dtype, module, name, window, region, place, start_us, id, stack, stack_text.
        groups: the same by what made them (category, component, role, module, place): size_bytes, count, relief_bytes.
        windows: the peak in each window (label, index, requested_bytes), highest first: the next one is as far as shrinking what
            lives only in the peak's window can get.
        free: what was reserved and free then; None on a CPU.
        lower_bound: why the figures are only lower bounds; empty where events are whole.
    """

    index: int
    time_us: int | None
    window: str
    requested_bytes: int
    counted_bytes: int | None
    allocated_bytes: int | None
    rounding_bytes: int | None
    by_category: dict[str, int]
    by_component: dict[str, int]
    by_role: dict[str, int]
    rows: pl.DataFrame
    groups: pl.DataFrame
    windows: pl.DataFrame
    free: FreeMemory | None
    lower_bound: str = ""

    @property
    def unresolved_bytes(self) -> int:
        """Bytes at the peak that nobody can say anything about."""
        return sum(self.by_category.get(name, 0) for name in (BEFORE, UNKNOWN))


def peak(run: Run, rank: int = 0, part: str = MEMORY_PART, top: int = TOP) -> MemoryPeak:
    """The peak of a part ("memory" or "load").

    Raises:
        UnreadableInput: the run holds no memory events of this part, or they cannot be read.
    """
    found, manifest = study(run, rank, part), manifest_of(run, rank)
    total = live_total(found.rows)
    index, live_bytes = peak_of(total)
    live, moment = alive_at(found.rows, index), moment_of(found, index)
    allocated = _highest([each.peak_bytes for each in recorded_phases(manifest, part)])
    counted = counted_peak(manifest, part)
    rows, groups = with_relief(found.rows, live, total, top)
    return MemoryPeak(
        index=index,
        time_us=moment["time_us"],
        window=moment["window"],
        requested_bytes=live_bytes,
        counted_bytes=counted,
        allocated_bytes=allocated,
        rounding_bytes=None if allocated is None or counted is None else allocated - counted,
        by_category=sums(live, "category"),
        by_component=sums(live, "component"),
        by_role=sums(live, "role"),
        rows=with_stack_text(rows, found.recording.stacks),
        groups=groups,
        windows=window_peaks(found, total),
        free=free_memory(found.recording, found.rows, index),
        lower_bound=why_lower_bound(run, rank, part),
    )


def sums(live: pl.DataFrame, by: str) -> dict[str, int]:
    """Bytes by the values of a column, most first."""
    found = live.group_by(by).agg(pl.col("size_bytes").sum()).sort("size_bytes", by, descending=[True, False])
    return dict(found.iter_rows())


def window_peaks(found: Study, total: pl.DataFrame) -> pl.DataFrame:
    """The highest live bytes in each window (label, or phase outside all): label, index, requested_bytes, highest first."""
    at = found.moments.select("index", "window").join_asof(total, on="index")
    best = pl.col("live_bytes").arg_max()
    peaks = at.group_by("window").agg(pl.col("index").get(best), pl.col("live_bytes").max().alias("requested_bytes"))
    named = peaks.filter(pl.col("window") != "").rename({"window": "label"})
    return named.sort("requested_bytes", "index", descending=[True, False])


def _highest(values: list[int | None]) -> int | None:
    return max((each for each in values if each is not None), default=None)


def moment_of(found: Study, index: int) -> dict[str, Any]:
    """time_us and window of an event; of what was before the first, the first event's time and no window."""
    row = found.moments.filter(pl.col("index") == max(index, 0))
    if row.is_empty():
        return {"time_us": None, "window": ""}
    return row.row(0, named=True) if index >= 0 else {"time_us": row["time_us"][0], "window": ""}

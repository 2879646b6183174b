"""How fast a host launches kernels, by its launch calls as traced: one run's, and two runs' beside each other.

A launch call does nothing but hand a kernel over: what it takes is the host's speed, whatever the kernel is. Recording costs all
hosts alike. A launch that finds the GPU's queue full waits for the GPU, and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from profiler.metrics.gpu_timeline import device_events
from profiler.metrics.windows import CALL, STEP, windows_of
from profiler.tables import schema
from profiler.tables.run import Run

_LAUNCH = r"^(cuda|cu|hip)(Ext)?(Module)?LaunchKernel"
# A GPU takes 1024 launches ahead of what runs.
_MOST_AHEAD = 900
# Of fewer calls than this a median says little.
_LEAST_CALLS = 50


@dataclass(frozen=True)
class Launches:
    """Launch calls of one name in the steps of a trace: how many, and the median of what one takes, in us."""

    count: int
    median_us: float


@dataclass(frozen=True)
class HostSpeed:
    """What a launch takes in two runs, in us as traced: the median by name, over the calls that both make."""

    base_us: float
    new_us: float

    @property
    def ratio(self) -> float:
        """New over base: above 1 the new run's host was slower."""
        return self.new_us / self.base_us


def launches(run: Run, rank: int = 0) -> dict[str, Launches]:
    """The launch calls of a rank's steps (of the whole call where it has none) by name; none without a GPU.

    Raises:
        UnreadableInput: no trace, or one that cannot be read.
    """
    trace = run.trace(rank)
    events = device_events(trace)
    every = windows_of(trace, events)
    steps = every.filter(pl.col("name") == STEP)
    chosen = steps if steps.height else every.filter(pl.col("name") == CALL)
    kernels = events.filter((pl.col("cat") == schema.KERNEL) & ~pl.col("repeated")).select("correlation", "start_ns")
    named = pl.col("name").str.contains(_LAUNCH)
    calls = trace.lazy("runtime").filter(named & (pl.col("correlation") > 0)).select("name", "correlation", "ts_ns", "dur_ns")
    made = calls.collect().join(kernels, on="correlation").sort("ts_ns")
    begun = kernels["start_ns"].sort().search_sorted(made["ts_ns"]).cast(pl.Int64)
    free = made.filter(pl.int_range(pl.len()) - begun < _MOST_AHEAD)
    inside = [free.filter(pl.col("ts_ns").is_between(*each)) for each in chosen.select("host_start_ns", "host_end_ns").rows()]
    if not inside:
        return {}
    found = pl.concat(inside).group_by("name").agg(pl.len().alias("count"), (pl.col("dur_ns").median() / 1e3).alias("us"))
    return {name: Launches(count, us) for name, count, us in found.sort("name").iter_rows()}


def median_us(of: dict[str, Launches]) -> float | None:
    """What a launch of a run takes, in us; None of too few to tell."""
    count = sum(each.count for each in of.values())
    return sum(each.count * each.median_us for each in of.values()) / count if count >= _LEAST_CALLS else None


def host_speed(new: dict[str, Launches], base: dict[str, Launches]) -> HostSpeed | None:
    """Two runs beside each other, by the calls that both make; None where these are too few to tell."""
    counts = {name: min(new[name].count, base[name].count) for name in new if name in base}
    total = sum(counts.values())
    if total < _LEAST_CALLS:
        return None
    base_us, new_us = (sum(count * of[name].median_us for name, count in counts.items()) / total for of in (base, new))
    return HostSpeed(base_us, new_us) if base_us > 0 and new_us > 0 else None

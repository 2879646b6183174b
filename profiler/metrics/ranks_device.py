"""A rank's device time cut as Holistic Trace Analysis cuts it: the same span and the same classes, from our own tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.metrics.classes import COMMUNICATION, classify_gpu
from profiler.tables import schema
from profiler.tables.run import Run

_CLASS = "class"


@dataclass(frozen=True)
class DeviceTime:
    """Traced time of one rank's device, us, from the begin of its first event to the end of its last.

    Args:
        span_us: all of it, the sum of `compute_us`, `non_compute_us` and `idle_us`.
        compute_us: while a kernel runs that does not communicate.
        non_compute_us: while only communication, copies and memsets run.
        idle_us: while nothing runs.
        communication_us: while communication runs; `hidden_us` of it together with such a kernel.
        events: kernels, copies and memsets.
    """

    rank: int
    span_us: float
    compute_us: float
    non_compute_us: float
    idle_us: float
    communication_us: float
    hidden_us: float
    events: int

    @property
    def overlap_share(self) -> float | None:
        """The share of communication that computation hides; None where there is none."""
        return self.hidden_us / self.communication_us if self.communication_us else None


def device_times(run: Run, ranks: Sequence[int]) -> tuple[list[DeviceTime], dict[int, str]]:
    """One row a rank whose trace holds a GPU event, and of each whose trace cannot be read the reason."""
    found, unread = [], {}
    for rank in ranks:
        try:
            time = device_time(run, rank)
        except UnreadableInput as error:
            unread[rank] = error.message
            continue
        found += [time] if time else []
    return found, unread


def device_time(run: Run, rank: int = 0) -> DeviceTime | None:
    """The same of one rank; None where its trace holds no GPU event.

    Raises:
        UnreadableInput: no trace, or one that cannot be read.
    """
    busy = run.trace(rank).lazy("gpu").filter(pl.col("cat").is_in(schema.GPU_BUSY))
    events = busy.select(
        "name", "cat", pl.col("ts_ns").alias("start_ns"), (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns")
    ).collect()
    if events.is_empty():
        return None
    events = _classified(events)
    talks = events.filter(pl.col(_CLASS) == COMMUNICATION)
    computes = events.filter((pl.col("cat") == schema.KERNEL) & (pl.col(_CLASS) != COMMUNICATION))
    every, talk, compute = (_union_ns(each) for each in (events, talks, computes))
    hidden = talk + compute - _union_ns(pl.concat([talks, computes]))
    ends = events.select(pl.col("end_ns").max() - pl.col("start_ns").min()).item()
    times = [each / 1e3 for each in (ends, compute, every - compute, ends - every, talk, hidden)]
    span, computing, rest, idle, talking, covered = times
    return DeviceTime(rank, span, computing, rest, idle, talking, covered, events.height)


def _classified(events: pl.DataFrame) -> pl.DataFrame:
    kinds = events.select("name", "cat").unique(maintain_order=True)
    labels = [classify_gpu(name, cat) for name, cat in kinds.iter_rows()]
    return events.join(kinds.with_columns(pl.Series(_CLASS, labels, pl.String)), on=["name", "cat"], how="left")


def _union_ns(events: pl.DataFrame) -> int:
    """How long at least one of `events` runs."""
    ordered = events.sort("start_ns")
    frontier = pl.col("end_ns").cum_max().shift(1).fill_null(pl.col("start_ns"))
    own = pl.col("end_ns") - pl.max_horizontal("start_ns", frontier)
    return int(ordered.select(own.clip(lower_bound=0).sum()).item() or 0)

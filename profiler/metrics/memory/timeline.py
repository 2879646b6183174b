"""Live bytes of a part of a run over time, by category, component, role or module: exact at every event."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from profiler.core.errors import UsageError
from profiler.metrics.memory import reserved
from profiler.metrics.memory.allocations import Study, study
from profiler.metrics.memory.labels import CATEGORIES
from profiler.metrics.memory.live import live_by, live_total
from profiler.metrics.memory.lookup import at_index
from profiler.metrics.memory.losses import why_lower_bound
from profiler.metrics.memory.source import MEMORY_PART
from profiler.tables.run import Run

BY = ("category", "component", "role", "module")


@dataclass(frozen=True)
class MemoryTimeline:
    """Live requested bytes over the events of a part.

    Args:
        by: what the labels are.
        frame: index, time_us, label, live_bytes; a row where a label's bytes change, which then hold until its next row. Index -1
            (at the time of the first event) is what lived before. At every event the labels sum to `total`.
        total: index, time_us, window, live_bytes, reserved_bytes; a row where one of the two changes, and index -1.
        windows: name, index, label, start_us, end_us of text encoding, steps, decoding, call.
        lower_bound: why every sum is only a lower bound; empty where events are whole.
    """

    by: str
    frame: pl.DataFrame
    total: pl.DataFrame
    windows: pl.DataFrame
    lower_bound: str = ""

    @cached_property
    def labels(self) -> list[str]:
        """Labels in the order of `CATEGORIES`, others by their highest bytes."""
        highest = (
            self.frame.group_by("label").agg(pl.col("live_bytes").max()).sort("live_bytes", "label", descending=[True, False])
        )
        found = highest["label"].to_list()
        return [each for each in CATEGORIES if each in found] if self.by == "category" else found

    def wide(self) -> pl.DataFrame:
        """One column a label (bytes), a row an event as in `total`: index, time_us, and the labels."""
        wide = self.total.select("index", "time_us")
        for label in self.labels:
            one = self.frame.filter(pl.col("label") == label).select("index", pl.col("live_bytes").alias(label))
            wide = wide.join_asof(one, on="index")
        return wide.with_columns(pl.col(self.labels).fill_null(0))

    def thinned(self, points: int) -> pl.DataFrame:
        """`wide` with about `points` rows, evenly in events: of each stretch the row with the most bytes, so no peak is lost."""
        wide = self.wide()
        if wide.height <= points:
            return wide
        stretch = pl.int_range(pl.len()) * points // pl.len()
        keyed = wide.with_columns(stretch.alias("_stretch"), self.total["live_bytes"].alias("_live"))
        highest = pl.all().get(pl.col("_live").arg_max())
        return keyed.group_by("_stretch", maintain_order=True).agg(highest).drop("_stretch", "_live")


def timeline(run: Run, rank: int = 0, part: str = MEMORY_PART, by: str = "category") -> MemoryTimeline:
    """The timeline of a part ("memory" or "load") of a run.

    Raises:
        UsageError: `by` is none of `BY`.
        UnreadableInput: the run holds no memory events of this part, or they cannot be read.
    """
    if by not in BY:
        raise UsageError(f"memory cannot be told apart by {by!r}", f"choose one of: {', '.join(BY)}")
    return timeline_of(study(run, rank, part), by, why_lower_bound(run, rank, part))


def timeline_of(found: Study, by: str, lower_bound: str = "") -> MemoryTimeline:
    """The timeline of a study; `by` is one of `BY`."""
    changes = _timed(live_by(found.rows, by), found.moments)
    return MemoryTimeline(
        by=by,
        frame=changes.select("index", "time_us", "label", "live_bytes"),
        total=total_of(found),
        windows=found.windows,
        lower_bound=lower_bound,
    )


def total_of(found: Study) -> pl.DataFrame:
    """Live and reserved bytes over the events: index, time_us, window, live_bytes, reserved_bytes."""
    live, held = live_total(found.rows), reserved.reserved_bytes(found.recording)
    both = live.join(held, on="index", how="full", coalesce=True).sort("index")
    whole = both.with_columns(pl.col("live_bytes", "reserved_bytes").forward_fill())
    return _timed(whole, found.moments).select("index", "time_us", "window", "live_bytes", "reserved_bytes")


def _timed(rows: pl.DataFrame, moments: pl.DataFrame) -> pl.DataFrame:
    found = at_index(moments.drop("index"), rows["index"])
    return rows.hstack(found).with_columns(
        pl.col("time_us").fill_null(pl.lit(moments["time_us"].first(), pl.Int64)), pl.col("window").fill_null("")
    )

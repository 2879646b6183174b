"""What the memory rules look at: the peak of the recorded call, what lived then, and which artifacts tell it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import polars as pl

from profiler.metrics.memory import Growth, MemoryPeak, Study, growth, has_part, memory_summary, peak, study
from profiler.metrics.memory.labels import WEIGHTS
from profiler.metrics.memory.live import alive_at
from profiler.rundir import layout
from profiler.tables.run import Run

# Below this share of the peak nothing is worth a change.
LEAST = 0.01
SNAPSHOT, EVENTS, CALL_EVENTS = "memory snapshot", "memory events", "memory snapshot of a whole call"
STEPS, PHASE_PEAKS, WEIGHTS_LIST = "memory events of three steps", "memory peaks of its phases", "weights.json"
# An import does not say how its program ended.
OUTCOME = "recorded end or memory events"


@dataclass(frozen=True)
class AtPeak:
    """The peak of the recorded call."""

    peak: MemoryPeak
    study: Study

    @cached_property
    def live(self) -> pl.DataFrame:
        """The allocations that live at the peak: columns of `allocations`."""
        return alive_at(self.study.rows, self.peak.index)

    @cached_property
    def windows(self) -> dict[str, int]:
        """The highest live bytes by kind of window (text, step, decode, call), as far as they are marked."""
        named = self.peak.windows.with_columns(pl.col("label").str.extract(r"^(text|step|decode|call)\b").alias("kind"))
        highest = named.drop_nulls("kind").group_by("kind").agg(pl.col("requested_bytes").max())
        return dict(highest.sort("kind").iter_rows())

    @property
    def window(self) -> str:
        """The kind of window that the peak lies in; the phase where it lies in none."""
        return self.peak.window.partition("/")[0]

    def weights(self, component: str) -> pl.DataFrame:
        """What a component's weights hold at the peak."""
        return self.live.filter((pl.col("category") == WEIGHTS) & (pl.col("component") == component))

    def works_in(self, component: str) -> set[str]:
        """The kinds of windows in which a component makes anything."""
        made = self.study.rows.filter((pl.col("component") == component) & (pl.col("start_index") >= 0))
        return set(made["window"].str.extract(r"^(text|step|decode)\b").drop_nulls().unique())


_KNOWN: WeakKeyDictionary[Run, dict[int, AtPeak]] = WeakKeyDictionary()
_GROWTH: WeakKeyDictionary[Run, dict[int, Growth]] = WeakKeyDictionary()


def at_peak(run: Run, rank: int = 0) -> AtPeak:
    """The peak of a run's memory phase, found once.

    Raises:
        UnreadableInput: the run holds no memory events, or they cannot be read.
    """
    known = _KNOWN.setdefault(run, {})
    if rank not in known:
        known[rank] = AtPeak(peak(run, rank), study(run, rank))
    return known[rank]


def step_growth(run: Run, rank: int = 0) -> Growth:
    """`metrics.memory.growth`, found once."""
    known = _GROWTH.setdefault(run, {})
    if rank not in known:
        known[rank] = growth(run, rank)
    return known[rank]


def whole_bytes(run: Run, rank: int = 0) -> int:
    """What shares are shares of: the inference peak, else that of the memory events, else the highest of any phase; 0 where none
    of them is known."""
    summary = memory_summary(run, rank)
    if summary.inference_peak_bytes:
        return summary.inference_peak_bytes
    if has_part(run, rank):
        return at_peak(run, rank).peak.requested_bytes
    return summary.since_start_peak_bytes or 0


def ids(rows: pl.DataFrame) -> tuple[int, ...]:
    """Which allocations some rows are, for `Finding.held`."""
    return tuple(rows["id"].to_list())


def size_of(rows: pl.DataFrame) -> int:
    """The bytes of some allocations."""
    return int(rows["size_bytes"].sum())


def _has_call(run: Run, rank: int) -> bool:
    return run.has(layout.MEMORY, rank) and bool(at_peak(run, rank).windows)


NEEDS: dict[str, Callable[[Run, int], bool]] = {
    SNAPSHOT: lambda run, rank: run.has(layout.MEMORY, rank),
    EVENTS: has_part,
    OUTCOME: lambda run, rank: run.manifest.kind != "import" or has_part(run, rank),
    CALL_EVENTS: _has_call,
    STEPS: lambda run, rank: has_part(run, rank) and step_growth(run, rank).leak_bytes is not None,
    PHASE_PEAKS: lambda run, rank: memory_summary(run, rank).inference_peak_bytes is not None,
    WEIGHTS_LIST: lambda run, rank: run.has(layout.WEIGHTS, rank),
}
"""Whether a run has what a rule needs."""

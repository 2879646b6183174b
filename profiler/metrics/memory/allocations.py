"""Every allocation of a part of a run: when it lived, and what it was for."""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import polars as pl

from profiler.metrics.memory.attribution import gather
from profiler.metrics.memory.classify import classify
from profiler.metrics.memory.intervals import live_intervals
from profiler.metrics.memory.lookup import at_index
from profiler.metrics.memory.source import MEMORY_PART, Recording, artifact_of
from profiler.metrics.memory.source_cpu import read_cpu_trace
from profiler.metrics.memory.source_cuda import read_snapshot
from profiler.metrics.memory.weights import storages
from profiler.metrics.memory.windows import label_events, marked_windows
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

COLUMNS = (
    "id",
    "device",
    "address",
    "size_bytes",
    "start_index",
    "end_index",
    "start_us",
    "end_us",
    "category",
    "component",
    "role",
    "dtype",
    "module",
    "name",
    "window",
    "region",
    "place",
    "stack",
)


@dataclass(frozen=True)
class Study:
    """A part of a run, read and told apart once.

    Args:
        recording: the events as they were recorded.
        rows: `allocations`.
        windows: name, index, label, start_us, end_us.
        moments: index, time_us, window (label, or the phase outside all) of every event.
        problems: what does not fit together, by what it is; empty where everything does.
    """

    recording: Recording
    rows: pl.DataFrame
    windows: pl.DataFrame
    moments: pl.DataFrame
    problems: dict[str, int] = field(default_factory=dict)


_STUDIES: WeakKeyDictionary[Run, dict[tuple[int, str], Study]] = WeakKeyDictionary()


def allocations(run: Run, rank: int = 0, part: str = MEMORY_PART) -> pl.DataFrame:
    """One row a live interval, in order of its start.

    Columns: id, device, address, size_bytes (requested), start_index (-1: before recording), end_index (null: lives on),
    start_us, end_us (null where unknown), category (one of `labels.CATEGORIES`), component, role, dtype, module, name (of a
    weight), window (in which it was made; "" before recording), region (compiled), place (file:line function), stack.

    Args:
        part: "memory" (the call of the memory phase) or "load" (load, quantize and warm-up).

    Raises:
        UnreadableInput: the run holds no memory events of this part, or they cannot be read.
    """
    return study(run, rank, part).rows


def study(run: Run, rank: int = 0, part: str = MEMORY_PART) -> Study:
    """The same with what it was made from; made once for each run, rank and part.

    Raises:
        UnreadableInput: the run holds no memory events of this part, or they cannot be read.
    """
    known = _STUDIES.setdefault(run, {})
    if (rank, part) not in known:
        known[rank, part] = _study(run, rank, part)
    return known[rank, part]


def _study(run: Run, rank: int, part: str) -> Study:
    artifact = artifact_of(run, rank, part)
    weights = storages(run, rank)
    cpu = artifact == layout.MEMORY_TRACE
    recording = read_cpu_trace(run, rank, weights) if cpu else read_snapshot(run, rank, artifact)
    return tell_apart(recording, weights, manifest_of(run, rank))


def tell_apart(recording: Recording, weights: pl.DataFrame, manifest: Manifest) -> Study:
    """The study of a recording; `weights` as `weights.storages` gives them."""
    windows = marked_windows(recording.marks)
    found = live_intervals(recording.events, recording.held)
    moments = label_events(recording.events.select("index", "time_us"), windows, manifest)
    timed = _with_times(found.rows, moments)
    rows = classify(gather(timed, recording, weights, manifest)).select(COLUMNS)
    return Study(recording, rows, windows, moments, found.problems)


def _with_times(rows: pl.DataFrame, moments: pl.DataFrame) -> pl.DataFrame:
    """When each interval began and ended, and in which window it began."""
    starts = at_index(moments, rows["start_index"])
    ends = at_index(moments.select("time_us"), rows["end_index"])
    return rows.with_columns(starts["time_us"].alias("start_us"), starts["window"].fill_null(""), ends["time_us"].alias("end_us"))

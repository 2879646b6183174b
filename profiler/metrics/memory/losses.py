"""Events that are gone: when sums over a recording are only lower bounds, and why."""

from __future__ import annotations

import polars as pl

from profiler.core.units import format_size
from profiler.metrics.memory.allocations import study
from profiler.metrics.memory.live import live_total
from profiler.metrics.memory.source import ARTIFACTS, MEMORY_PART
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest, Phase
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

# Imported snapshots do not say how long their ring buffer was. A round number of events is no accident.
_ROUND_EVENTS = 10_000


def why_lower_bound(run: Run, rank: int = 0, part: str = MEMORY_PART) -> str:
    """Why sums over a part's events are only lower bounds; empty where nothing is known to be missing.

    Raises:
        UnreadableInput: the run holds no memory events of this part, or they cannot be read.
    """
    found, manifest = study(run, rank, part), manifest_of(run, rank)
    noted = f"{layout.rank_dir(run.path, rank).name}/{ARTIFACTS[part]}"
    said = next((each.why for each in run.manifest.lost if each.what == noted), "")
    if said:
        return said
    if found.recording.lost:
        return "events could not be read: " + "; ".join(f"{why} ({count})" for why, count in found.recording.lost.items())
    events = found.recording.events
    counted = counted_peak(manifest, part) if found.recording.kind == "cuda" else None
    return _full(manifest, part, events) or _missed(counted, live_total(found.rows))


def counted_peak(manifest: Manifest, part: str = MEMORY_PART) -> int | None:
    """The requested bytes that the allocator counted at the peak of what a part's events show; None where nobody counted."""
    found = [each.peak_requested_bytes for each in recorded_phases(manifest, part) if each.peak_requested_bytes is not None]
    return max(found, default=None)


def recorded_phases(manifest: Manifest, part: str = MEMORY_PART) -> list[Phase]:
    """The phases whose events a part holds. A run that died before its memory phase saved what it had from the start."""
    memory = manifest.phase(layout.MEMORY_PHASE)
    if part == MEMORY_PART and memory is not None:
        return [memory]
    names = (layout.LOAD, layout.QUANTIZE, layout.WARMUP)
    return [each for each in manifest.phases if each.name in names]


def _full(manifest: Manifest, part: str, events: pl.DataFrame) -> str:
    most = max((count for _, count in events.group_by("device").len().iter_rows()), default=0)
    limits = [each.detail.get("max_entries") for each in recorded_phases(manifest, part)]
    if any(isinstance(each, int) and 0 < each <= most for each in limits):
        return f"the ring buffer was full with {most} events: the oldest are gone"
    if manifest.kind == "import" and most >= _ROUND_EVENTS and most % _ROUND_EVENTS == 0:
        return f"exactly {most} events: the ring buffer was probably full, and the oldest are gone"
    return ""


def _missed(counted: int | None, total: pl.DataFrame) -> str:
    """The allocator counts what the events should show."""
    seen = total["live_bytes"].max()
    if counted is None or not isinstance(seen, int) or seen >= counted:
        return ""
    return f"the events reach {format_size(seen)}, the allocator counted {format_size(counted)}"

"""Out of memory: what asked for how much, what held the memory, and how much was free but in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from profiler.metrics.memory.allocations import Study, study
from profiler.metrics.memory.live import alive_at
from profiler.metrics.memory.peak import TOP, moment_of, sums
from profiler.metrics.memory.reserved import FreeMemory, free_memory
from profiler.metrics.memory.shrink import biggest
from profiler.metrics.memory.source import MEMORY_PART, has_part
from profiler.metrics.memory.stacks import stack_facts, stack_text, with_stack_text
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

_OOM = "oom"


@dataclass(frozen=True)
class OomReport:
    """An allocation that failed.

    Args:
        message: what torch said; "" where `run.json` has no failure.
        phase: phase in which the run died.
        asked_bytes: the size asked for; None where no event says so.
        device_free_bytes: free on the device then; None as above.
        time_us, window: when.
        module, component, place, stack_text: who asked; "" where not recorded.
        live_bytes: requested by what lived.
        by_category, by_component: what held it, most first.
        rows: the biggest live allocations: size_bytes, category, component, role, dtype, module, name, window, region, place,
            start_us, id, stack, stack_text.
        free: what was reserved and free in pieces; None where the snapshot has no segments.
        by_fragmentation: whether it would have fit had the free pieces been one: free on the device and free in segments together
            hold it; None where either is unknown.
    """

    message: str
    phase: str
    asked_bytes: int | None = None
    device_free_bytes: int | None = None
    time_us: int | None = None
    window: str = ""
    module: str = ""
    component: str = ""
    place: str = ""
    stack_text: str = ""
    live_bytes: int | None = None
    by_category: dict[str, int] | None = None
    by_component: dict[str, int] | None = None
    rows: pl.DataFrame | None = None
    free: FreeMemory | None = None
    by_fragmentation: bool | None = None


def oom_report(run: Run, rank: int = 0) -> OomReport | None:
    """What is known of the last allocation that failed; None where the run did not run out of memory.

    A run without memory events is told from its manifest alone.

    Raises:
        UnreadableInput: memory events that cannot be read.
    """
    manifest = run.manifest
    event = _event(study(run, rank)) if has_part(run, rank, MEMORY_PART) else None
    if event is None:
        failed = manifest.status == _OOM
        return OomReport(_message(manifest), _phase(manifest)) if failed else None
    return _report(study(run, rank), event, manifest)


def _event(found: Study) -> dict[str, Any] | None:
    events = found.recording.events.filter(pl.col("action") == _OOM)
    return events.row(-1, named=True) if events.height else None


def _message(manifest: Manifest) -> str:
    return manifest.failure.message if manifest.failure and manifest.status == _OOM else ""


def _phase(manifest: Manifest) -> str:
    return (manifest.failure.phase or "") if manifest.failure else ""


def _report(found: Study, event: dict[str, Any], manifest: Manifest) -> OomReport:
    index, stacks = event["index"], found.recording.stacks
    live = alive_at(found.rows, index)
    free = free_memory(found.recording, found.rows, index)
    asking = stacks.filter(pl.col("stack") == event["stack"])
    facts = next(stack_facts(asking, found.rows["component"].unique()).iter_rows(named=True), {})
    return OomReport(
        message=_message(manifest),
        phase=_phase(manifest),
        asked_bytes=event["size_bytes"],
        device_free_bytes=event["device_free_bytes"],
        time_us=event["time_us"],
        window=moment_of(found, index)["window"],
        module=event["module"],
        component=event["module"].partition(".")[0] or facts.get("component", ""),
        place=facts.get("place", ""),
        stack_text=stack_text(stacks, [event["stack"]]).get(event["stack"], ""),
        live_bytes=int(live["size_bytes"].sum()),
        by_category=sums(live, "category"),
        by_component=sums(live, "component"),
        rows=with_stack_text(biggest(live, TOP), stacks),
        free=free,
        by_fragmentation=_in_pieces(event, free),
    )


def _in_pieces(event: dict[str, Any], free: FreeMemory | None) -> bool | None:
    if free is None or event["device_free_bytes"] is None:
        return None
    return bool(event["size_bytes"] <= event["device_free_bytes"] + free.free_bytes)

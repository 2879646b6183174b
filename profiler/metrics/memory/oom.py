"""Out of memory: what asked for how much, what held the memory, and how much was free but in pieces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from profiler.core.units import GIB, MIB
from profiler.metrics.memory.allocations import Study, study
from profiler.metrics.memory.live import alive_at
from profiler.metrics.memory.losses import why_lower_bound
from profiler.metrics.memory.peak import TOP, moment_of, sums
from profiler.metrics.memory.reserved import FreeMemory, free_memory
from profiler.metrics.memory.shrink import biggest
from profiler.metrics.memory.source import MEMORY_PART, has_part
from profiler.metrics.memory.stacks import stack_facts, stack_text, with_stack_text
from profiler.rundir.manifest import Manifest
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

_OOM = "oom"
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": GIB}
_SIZE = r"(\d+(?:\.\d+)?) (bytes|KiB|MiB|GiB)"
_ASKED = re.compile(rf"[Tt]ried to allocate {_SIZE}|you tried to allocate (\d+) (bytes)")
_FREE = re.compile(rf"of which {_SIZE} is free")


@dataclass(frozen=True)
class OomReport:
    """An allocation that failed.

    Args:
        message: what torch said; "" where `run.json` has no failure.
        phase: phase in which the run died.
        asked_bytes: the size asked for; None where nothing says so.
        device_free_bytes: free on the device then; None as above.
        rounded: the two are from the message, which rounds; else from the allocator's event.
        time_us, window: when; None and "" without an event.
        module, component, place, stack_text: who asked; "" where not recorded.
        live_bytes: requested by what lived; None without memory events, as the rest.
        by_category, by_component: what held it, most first.
        rows: the biggest live allocations: size_bytes, category, component, role, dtype, module, name, window, region, place,
            start_us, id, stack, stack_text.
        free: what was reserved, and free in pieces; None where the snapshot has no segments.
        by_fragmentation: whether it would have fit had the free pieces been one: free on the device and free in segments together
            hold it; None where either is unknown.
        lower_bound: why the figures are only lower bounds; empty where events are whole.
    """

    message: str
    phase: str
    asked_bytes: int | None = None
    device_free_bytes: int | None = None
    rounded: bool = False
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
    lower_bound: str = ""


def oom_report(run: Run, rank: int = 0) -> OomReport | None:
    """What is known of the last allocation that failed; None where the run did not run out of memory.

    Without an event of it, it is told from the message and the state in which the memory was left; without a snapshot from
    the message alone.

    Raises:
        UnreadableInput: memory events that cannot be read.
    """
    manifest = manifest_of(run, rank)
    failed = manifest.status == _OOM
    if not has_part(run, rank, MEMORY_PART):
        return _without_events(manifest) if failed else None
    found = study(run, rank)
    events = found.recording.events.filter(pl.col("action") == _OOM)
    if events.is_empty() and not failed:
        return None
    event = events.row(-1, named=True) if events.height else _last_state(found, manifest)
    return _report(found, event, manifest, why_lower_bound(run, rank))


def _message(manifest: Manifest) -> str:
    return manifest.failure.message if manifest.failure and manifest.status == _OOM else ""


def _phase(manifest: Manifest) -> str:
    return (manifest.failure.phase or "") if manifest.failure else ""


def _said(pattern: re.Pattern[str], message: str) -> int | None:
    """The size that a message names, in bytes as far as it gives digits."""
    match = pattern.search(message)
    if match is None:
        return None
    number, unit = (each for each in match.groups() if each is not None)
    return round(float(number) * _UNITS[unit])


def _without_events(manifest: Manifest) -> OomReport:
    message = _message(manifest)
    asked, free = _said(_ASKED, message), _said(_FREE, message)
    return OomReport(message, _phase(manifest), asked, free, rounded=asked is not None)


def _last_state(found: Study, manifest: Manifest) -> dict[str, Any]:
    """What the event would say, from the message; the memory as the snapshot found it."""
    told = _without_events(manifest)
    return {
        "index": found.recording.events.height - 1,
        "size_bytes": told.asked_bytes,
        "device_free_bytes": told.device_free_bytes,
        "rounded": told.rounded,
        "time_us": None,
        "stack": -1,
        "module": "",
    }


def _report(found: Study, event: dict[str, Any], manifest: Manifest, lower_bound: str) -> OomReport:
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
        rounded=event.get("rounded", False),
        time_us=event["time_us"],
        window=moment_of(found, index)["window"] if event["time_us"] is not None else "",
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
        lower_bound=lower_bound,
    )


def _in_pieces(event: dict[str, Any], free: FreeMemory | None) -> bool | None:
    if free is None or event["device_free_bytes"] is None or event["size_bytes"] is None:
        return None
    return bool(event["size_bytes"] <= event["device_free_bytes"] + free.free_bytes)

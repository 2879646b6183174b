"""Sentences and cells about memory that several reports share."""

from __future__ import annotations

from typing import Any

from profiler.core.units import MIB, format_size
from profiler.metrics.memory import MemorySummary, OomReport
from profiler.metrics.memory.labels import ACTIVATION, WEIGHT, WEIGHTS

_WORDS = {"load": "loading", "quantize": "quantizing", "warmup": "the warm-up"}


def since_start(summary: MemorySummary) -> str:
    """What the peak since start says about a call; empty where either is not known."""
    since, inference = summary.since_start_peak_bytes, summary.inference_peak_bytes
    if since is None:
        return ""
    said = "the peak since start is max_memory_allocated as benchmarks report it"
    phase = _WORDS.get(summary.since_start_phase, f"the phase {summary.since_start_phase}")
    if inference is None:
        return f"{said}; it was reached in {phase}, and no call was measured alone"
    if summary.since_start_is_inference:
        return f"{said}; here it is the peak of a call: nothing before needed more"
    return f"{said}; it was reached in {phase}, before any call, and a call alone peaks {format_size(since - inference)} lower"


def size(size_bytes: int | None) -> str:
    """A size for people, however small."""
    if size_bytes is None or abs(size_bytes) >= MIB / 10:
        return format_size(size_bytes)
    return f"{size_bytes / 1024:.1f} KiB" if abs(size_bytes) >= 1024 else f"{size_bytes} B"


def listed(sums: dict[str, int], most: int = 6) -> str:
    """`weights 31.424 GiB, activations 1.375 GiB`."""
    shown = [f"{name} {size(each)}" for name, each in list(sums.items())[:most]]
    rest = sum(list(sums.values())[most:])
    return ", ".join([*shown, *([f"others {size(rest)}"] if rest else [])])


def kind(row: dict[str, Any]) -> str:
    """What an allocation is: `weights quantized data float8_e4m3fn`, `activations`."""
    role = "" if row["role"] in (ACTIVATION, WEIGHT, row["category"]) else row["role"]
    # What is left in bf16 says its dtype already.
    dtype = "" if role.startswith("left in") else row.get("dtype") or ""
    return " ".join(each for each in (row["category"], role, dtype) if each)


def where(row: dict[str, Any]) -> str:
    """Whose it is: a weight's name or module; else the module, and the line that made it."""
    if row.get("name"):
        return str(row["name"])
    module, place = str(row["module"] or row["component"]), short_place(row["place"])
    # Where a weight was made is where its layer is written: that tells nobody anything, unless nothing else does.
    known = row["category"] == WEIGHTS and module != row["component"]
    return f"{module} at {place}" if place and not known else module


def short_place(place: str) -> str:
    """A place without its folders: `upsampling.py:186 forward`."""
    path, space, function = place.partition(" ")
    return path.rpartition("/")[2] + space + function


def oom_lines(oom: OomReport) -> list[str]:
    """What asked for how much, what held the memory, what was free in pieces."""
    lines = [_asked(oom)]
    if oom.place:
        lines.append(f"at {oom.place}" + (f" ({oom.module or oom.component})" if oom.module or oom.component else ""))
    if oom.live_bytes is not None:
        lines.append(f"held: {listed(oom.by_category or {})}; by component {listed(oom.by_component or {}, 4)}")
    lines += _free(oom)
    return lines


def _asked(oom: OomReport) -> str:
    asked = format_size(oom.asked_bytes) if oom.asked_bytes is not None else "an unknown size"
    where_ = oom.window or oom.phase
    free = f", {format_size(oom.device_free_bytes)} were free on the device" if oom.device_free_bytes is not None else ""
    about = " (as the message rounds)" if oom.rounded else ""
    return f"out of memory{f' in {where_}' if where_ else ''}: {asked} asked{free}{about}"


def _free(oom: OomReport) -> list[str]:
    if oom.free is None:
        return []
    largest = f", the largest {format_size(oom.free.largest_free_bytes)}" if oom.free.largest_free_bytes is not None else ""
    pieces = f" in {oom.free.pieces} pieces" if oom.free.pieces is not None else " in pieces"
    text = f"reserved {format_size(oom.free.reserved_bytes)}, {format_size(oom.free.free_bytes)} of it free{pieces}{largest}"
    if oom.by_fragmentation is None:
        return [text]
    fits = "in one piece the request would have fit" if oom.by_fragmentation else "in one piece it would not have fit either"
    return [f"{text}: {fits}"]

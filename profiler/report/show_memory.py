"""The memory section of `show`: peaks by phase, what lives at the inference peak, out of memory."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.core.units import gib
from profiler.metrics import phases
from profiler.metrics.memory import MEMORY_PART, MemorySummary, OomReport, has_part, memory_summary, oom_report, peak
from profiler.report import memory_words
from profiler.report.render import table
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

_NONE = "no memory events were recorded"


def memory_data(run: Run, rank: int = 0) -> dict[str, Any]:
    """`show`'s key `memory`, JSON-ready; sizes in GiB, None where not known.

    `load_peak_gib` is that of loading and quantizing together. `at_peak` and `oom` come from memory events; `problem` says why
    they are missing.
    """
    summary = memory_summary(run, rank)
    found: dict[str, Any] = asdict(phases.memory(manifest_of(run, rank))) | {
        "quantize_peak_gib": gib(summary.quantize_peak_bytes),
        "warmup_peak_gib": gib(summary.warmup_peak_bytes),
        "inference_phase": summary.inference_phase,
        "since_start_peak_gib": gib(summary.since_start_peak_bytes),
        "since_start_phase": summary.since_start_phase,
        "since_start": memory_words.since_start(summary),
    }
    return found | _events(run, rank)


def phase_sizes(summary: MemorySummary) -> list[dict[str, float | None]]:
    """Per phase what `show`'s `phases` say beside live and peak: requested bytes at its end and peak, and reserved ones."""
    return [
        {
            "alloc_requested_gib": gib(each.requested_bytes),
            "peak_requested_gib": gib(each.peak_requested_bytes),
            "reserved_gib": gib(each.reserved_bytes),
        }
        for each in summary.phases
    ]


def _events(run: Run, rank: int) -> dict[str, Any]:
    empty: dict[str, Any] = {"at_peak": None, "oom": None, "problem": None}
    try:
        oom = oom_report(run, rank)
        at_peak = _at_peak(run, rank) if has_part(run, rank, MEMORY_PART) else None
    except UnreadableInput as error:
        return empty | {"problem": error.message}
    problem = None if at_peak else _NONE
    return {"at_peak": at_peak, "oom": _oom(oom) if oom else None, "problem": problem}


def _at_peak(run: Run, rank: int) -> dict[str, Any]:
    found = peak(run, rank, top=0)
    free = found.free
    return {
        "window": found.window,
        "requested_gib": gib(found.requested_bytes),
        "allocated_gib": gib(found.allocated_bytes),
        "rounding_gib": gib(found.rounding_bytes),
        "by_category": {name: gib(size) for name, size in found.by_category.items()},
        "reserved_gib": gib(free.reserved_bytes) if free else None,
        "free_gib": gib(free.free_bytes) if free else None,
        "largest_free_gib": gib(free.largest_free_bytes) if free else None,
        "lower_bound": found.lower_bound,
    }


def _oom(oom: OomReport) -> dict[str, Any]:
    return {
        "asked_gib": gib(oom.asked_bytes),
        "device_free_gib": gib(oom.device_free_bytes),
        "component": oom.component,
        "place": oom.place,
        "by_category": {name: gib(size) for name, size in (oom.by_category or {}).items()},
        "free_gib": gib(oom.free.free_bytes) if oom.free else None,
        "largest_free_gib": gib(oom.free.largest_free_bytes) if oom.free else None,
        "by_fragmentation": oom.by_fragmentation,
        "text": memory_words.oom_lines(oom),
    }


def memory_text(data: dict[str, Any], width: int) -> str:
    """The section for people; empty where nothing is known."""
    memory = data["memory"]
    parts = [_peaks(data, width), _filled(memory["since_start"], width)]
    lines = [*_peak_lines(memory["at_peak"]), *(memory["oom"] or {"text": []})["text"]]
    if memory["problem"] not in (None, _NONE):
        lines.append(f"no memory breakdown: {memory['problem']}")
    parts += [_filled(line, width) for line in lines]
    return "\n".join(part for part in parts if part)


def _peaks(data: dict[str, Any], width: int) -> str:
    memory, loads = data["memory"], [each["peak_gib"] for each in data["phases"] if each["name"] == "load"]
    rows = (
        ("model memory", memory["model_gib"], "allocated after load and quantize"),
        ("load peak", loads[-1] if loads else None, ""),
        ("quantize peak", memory["quantize_peak_gib"], ""),
        ("warm-up peak", memory["warmup_peak_gib"], ""),
        ("inference peak", memory["inference_peak_gib"], f"one call alone (phase {memory['inference_phase']})"),
        ("peak since start", memory["since_start_peak_gib"], f"in phase {memory['since_start_phase']}"),
    )
    shown = [(name, f"{size:,.3f}", what) for name, size, what in rows if size is not None]
    return table(("memory", "GiB", ""), shown, width, left=(0, 2)) if shown else ""


def _peak_lines(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    window = f" (in {found['window']})" if found["window"] else ""
    sums = ", ".join(f"{name} {size:,.3f}" for name, size in found["by_category"].items())
    rounding = f", allocator rounding {found['rounding_gib']:,.3f}" if found["rounding_gib"] is not None else ""
    lines = [f"at the memory peak{window}, GiB: {sums}{rounding}"]
    if found["reserved_gib"] is not None:
        largest = f", the largest piece {found['largest_free_gib']:,.3f}" if found["largest_free_gib"] is not None else ""
        lines.append(f"reserved then: {found['reserved_gib']:,.3f} GiB, {found['free_gib']:,.3f} of it free{largest}")
    if found["lower_bound"]:
        lines.append(f"these are lower bounds: {found['lower_bound']}")
    return lines


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)

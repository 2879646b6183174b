"""What `diffuscope memory` says about one part of a run, as plain data: sizes in bytes, times in epoch microseconds."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import polars as pl

from profiler.core.errors import UnreadableInput, UsageError
from profiler.metrics.main_rank import memory_rank
from profiler.metrics.memory import (
    LOAD_PART,
    MEMORY_PART,
    MemoryPeak,
    MemorySummary,
    OomReport,
    Study,
    growth,
    has_part,
    memory_summary,
    oom_report,
    peak,
    phase_bands,
    study,
)
from profiler.metrics.memory.labels import CATEGORIES
from profiler.metrics.memory.live import live_by
from profiler.metrics.memory.timeline import BY, total_of
from profiler.metrics.memory.unused import unused_bytes
from profiler.report import memory_ranks, memory_words
from profiler.report.memory_slots import SLOTS, Slots, slots_of
from profiler.rundir import layout
from profiler.tables.ranks import is_spread, manifest_of
from profiler.tables.run import Run

PARTS = (MEMORY_PART, LOAD_PART)
# Labels of a timeline, unless asked otherwise; the rest is one row.
LABELS = 12
_HIDDEN = ("stack",)


def memory_data(
    run: Run, part: str = MEMORY_PART, by: str = "category", top: int = 10, rank: int | None = None
) -> dict[str, Any]:
    """Everything `memory` prints, JSON-ready; keys are documented in docs/memory.md.

    Args:
        part: "memory" (one call) or "load" (load, quantize, warm-up).
        by: what the timeline's labels are.
        top: at most so many allocations and groups at the peak.
        rank: of several, whose memory; by default that of the one that needs most.

    Raises:
        UsageError: `part` or `by` is none that there is.
        UnreadableInput: memory events that cannot be read; or a run that says nothing about memory.
    """
    for option, value, choices in (("part", part, PARTS), ("by", by, BY)):
        if value not in choices:
            raise UsageError(f"--{option} {value} is not known", f"choose from: {', '.join(choices)}")
    rank = memory_rank(run) if rank is None else rank
    summary = memory_summary(run, rank)
    oom = oom_report(run, rank)
    known = has_part(run, rank, part)
    if not known and oom is None and summary.since_start_peak_bytes is None:
        study(run, rank, part)
    return {
        "run": str(run.path),
        "status": run.manifest.status,
        **(memory_ranks.ranks_data(run, rank) if is_spread(run) else {}),
        "part": part,
        "covers": _covers(run, rank, part),
        "by": by,
        "summary": _summary(summary),
        "problem": None if known else _problem(run, rank, part),
        **(_events(run, part, by, top, rank) if known else dict.fromkeys(("timeline", "peak", "growth", "lower_bound"))),
        "oom": _oom(oom, top) if oom else None,
    }


def _covers(run: Run, rank: int, part: str) -> str:
    """What a part's events are of. A run that died before its memory phase saved what it had from the start."""
    if part == LOAD_PART:
        return "load, quantize and warm-up"
    if run.manifest.kind == "import":
        return "the imported snapshot"
    return "one call" if manifest_of(run, rank).phase(layout.MEMORY_PHASE) else "all until it ended"


def _summary(summary: MemorySummary) -> dict[str, Any]:
    phases = [asdict(each) | {"rounding_bytes": each.rounding_bytes} for each in summary.phases]
    return asdict(summary) | {"phases": phases, "since_start": memory_words.since_start(summary)}


def _problem(run: Run, rank: int, part: str) -> str:
    try:
        study(run, rank, part)
    except UnreadableInput as error:
        return f"{error.message}: {error.hint}"
    return ""


def _events(run: Run, part: str, by: str, top: int, rank: int) -> dict[str, Any]:
    found, highest = study(run, rank, part), peak(run, rank, part, top)
    return {
        "timeline": _timeline(run, rank, found, by),
        "peak": _peak(highest, found, top),
        "growth": _growth(run, rank, top) if part == MEMORY_PART and (found.windows["name"] == "step").any() else None,
        "lower_bound": highest.lower_bound,
    }


def _timeline(run: Run, rank: int, found: Study, by: str) -> dict[str, Any]:
    """Live bytes over time in `SLOTS` equal stretches, of each the highest."""
    labelled = _merged(found, by)
    times = found.moments["time_us"].drop_nulls()
    slots = Slots(int(times.min() or 0), int(times.max() or 0))  # type: ignore[arg-type]
    frame = live_by(labelled, by).join(found.moments.select("index", "time_us"), on="index", how="left")
    total = total_of(found)
    return {
        "start_us": slots.start_us,
        "end_us": slots.end_us,
        "slots": SLOTS,
        "total": slots_of(total, slots, "live_bytes"),
        "reserved": slots_of(total, slots, "reserved_bytes") if total["reserved_bytes"].null_count() < total.height else None,
        "labels": [_label(frame, name, slots) for name in _ordered(labelled, by)],
        "windows": _bands(run, rank, found, slots),
    }


def _merged(found: Study, by: str) -> pl.DataFrame:
    """The allocations with all but the biggest labels as one."""
    biggest = (
        live_by(found.rows, by).group_by("label").agg(pl.col("live_bytes").max()).sort("live_bytes", "label", descending=True)
    )
    kept = biggest["label"].head(LABELS)
    rest = biggest.height - kept.len()
    if not rest:
        return found.rows
    label = pl.when(pl.col(by).is_in(kept.implode())).then(by).otherwise(pl.lit(f"{rest} others"))
    return found.rows.with_columns(label.alias(by))


def _ordered(rows: pl.DataFrame, by: str) -> list[str]:
    highest = (
        live_by(rows, by).group_by("label").agg(pl.col("live_bytes").max()).sort("live_bytes", "label", descending=[True, False])
    )
    names = highest["label"].to_list()
    return [each for each in CATEGORIES if each in names] if by == "category" else names


def _label(frame: pl.DataFrame, name: str, slots: Slots) -> dict[str, Any]:
    values = slots_of(frame.filter(pl.col("label") == name), slots, "live_bytes")
    return {"label": name, "highest_bytes": max(values), "bytes": values}


def _bands(run: Run, rank: int, found: Study, slots: Slots) -> list[dict[str, Any]]:
    """Text encoding, steps and decoding; outside a marked call the phases."""
    marked = found.windows.filter(pl.col("name") != "call").select(pl.col("label").alias("name"), "start_us", "end_us")
    bands = marked if marked.height else phase_bands(run, rank).select("name", "start_us", "end_us")
    inside = bands.with_columns(pl.col("end_us").fill_null(slots.end_us)).filter(
        (pl.col("start_us") <= slots.end_us) & (pl.col("end_us") >= slots.start_us)
    )
    return inside.with_columns(
        pl.col("start_us").clip(slots.start_us), pl.col("end_us").clip(upper_bound=slots.end_us)
    ).to_dicts()


def _peak(found: MemoryPeak, of: Study, top: int) -> dict[str, Any]:
    age = pl.lit(found.time_us, pl.Int64) - pl.col("start_us")
    rows = found.rows.with_columns(age.alias("age_us")).drop(_HIDDEN)
    names = ("index", "time_us", "window", "requested_bytes", "counted_bytes", "allocated_bytes", "rounding_bytes")
    sums = ("by_category", "by_component", "by_role")
    free = asdict(found.free) if found.free else None
    return {name: getattr(found, name) for name in (*names, *sums)} | {
        "unresolved_bytes": found.unresolved_bytes,
        "rows": rows.head(top).to_dicts(),
        "groups": found.groups.head(top).to_dicts(),
        "windows": found.windows.to_dicts(),
        "free": free | {"unused_bytes": unused_bytes(of)} if free else None,
    }


def _growth(run: Run, rank: int, top: int) -> dict[str, Any]:
    found = growth(run, rank)
    return {
        "steps": found.steps.to_dicts(),
        "kept": found.kept.head(top).drop(_HIDDEN).to_dicts(),
        "leak_bytes": found.leak_bytes,
    }


def _oom(oom: OomReport, top: int) -> dict[str, Any]:
    rows = oom.rows.head(top).drop(_HIDDEN).to_dicts() if oom.rows is not None else []
    return asdict(replace(oom, rows=None)) | {"rows": rows, "text": memory_words.oom_lines(oom)}

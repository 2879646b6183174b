"""Memory: where is every byte, and what would lower the peak?"""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboards import data, findings, navigation, parts
from dashboards.charts import memory as charts
from dashboards.pages import memory_beside, memory_pieces
from profiler.core.errors import UnreadableInput
from profiler.core.units import format_size, unit_of
from profiler.metrics.main_rank import memory_rank
from profiler.metrics.memory import (
    LOAD_PART,
    MEMORY_PART,
    MemoryPeak,
    MemorySummary,
    MemoryTimeline,
    OomReport,
    memory_summary,
    oom_report,
)
from profiler.metrics.memory.timeline import BY

_QUESTION = "Where is every byte, and what would lower the peak?"
_PARTS = {MEMORY_PART: "a call", LOAD_PART: "loading, quantizing, warm-up"}


def page() -> None:
    """The page."""
    rows = data.readable_runs()
    left, right = st.columns([0.8, 0.2])
    with left:
        name = navigation.choose_run(rows)
    if not name:
        return
    found = data.run(name)
    with right:
        rank = navigation.choose_rank(found, memory_rank, "needs most")
    summary, held = memory_summary(found, rank), data.memory_parts(name, rank)
    if not held and not any(each.peak_bytes for each in summary.phases):
        parts.head(_QUESTION, f"{name} says nothing about memory.")
        parts.nothing("No memory events", "This run holds no snapshot and no peaks.", "diffuscope import --memory SNAPSHOT")
        return
    failed = oom_report(found, rank)
    peak = data.memory_peak(name, held[0], rank) if held else None
    _head(summary, peak, failed)
    if failed and failed.message:
        parts.note(failed.message)
    if held:
        part, by = _chosen(held)
        _timeline(name, part, by, rank)
        memory_beside.section(name, rows)
    _findings(name, rank)
    if held:
        _peak(name, part, rank)
        memory_pieces.section(name, part, rank)
    _phases(summary)
    memory_beside.ranks(name)


def _head(summary: MemorySummary, peak: MemoryPeak | None, failed: OomReport | None) -> None:
    if failed and failed.asked_bytes:
        answer = (
            f"Out of memory: {format_size(failed.asked_bytes)} asked, {format_size(failed.device_free_bytes)} free on the device"
        )
    elif peak:
        (first, size), *_ = peak.by_category.items()
        where = f" in {peak.window}" if peak.window else ""
        answer = (
            f"The peak of a call is {format_size(peak.requested_bytes)}{where}: {size / max(1, peak.requested_bytes):.0%} {first}"
        )
    else:
        answer = f"The inference peak is {format_size(summary.inference_peak_bytes)}"
    parts.head(_QUESTION, answer, peak.lower_bound if peak else "")
    sizes = [
        ("model memory", summary.model_bytes, "after load and quantize"),
        ("inference peak", summary.inference_peak_bytes, f"phase {summary.inference_phase}" if summary.inference_phase else ""),
        ("load peak", summary.load_peak_bytes, "while loading"),
        ("quantize peak", summary.quantize_peak_bytes, "while quantizing"),
        ("peak since start", summary.since_start_peak_bytes, f"lies in {summary.since_start_phase}"),
    ]
    if peak and peak.free:
        sizes.append(("reserved, unused", peak.free.free_bytes, f"at the peak, in {peak.free.pieces or '?'} pieces"))
    parts.figures([_figure(name, size, what) for name, size, what in sizes if size])


def _figure(name: str, size_bytes: int, what: str) -> tuple[str, str, str, str]:
    unit, size = unit_of(size_bytes)
    return name, f"{size_bytes / size:,.2f}", unit, what


def _findings(name: str, rank: int) -> None:
    """What rules say about memory; the same cards as on the Diagnosis page."""
    try:
        found = data.report(name, rank=rank).memory
    except UnreadableInput as error:
        # The bytes are known, whatever is wrong with the trace.
        parts.note(f"not diagnosed: {error.message}")
        return
    if not found.granted:
        return
    parts.section("What to change", "by severity, and by what it saves at least; savings on the same bytes do not add up")
    for number, each in enumerate(found.granted, 1):
        with st.container(border=True, key=f"memory_finding_{number}"):
            parts.card(findings.of_memory(number, each, found.whole_bytes, data.source_of(name, rank)))


def _chosen(held: list[str]) -> tuple[str, str]:
    """The part of the run, and by what its bytes are told apart."""
    left, right = st.columns(2)
    with left:
        part = st.segmented_control("Part", held, default=held[0], format_func=lambda each: _PARTS[each], key="memory_part")
    with right:
        by = st.segmented_control("By", BY, default=BY[0], key="memory_by")
    return part or held[0], by or BY[0]


def _timeline(name: str, part: str, by: str, rank: int) -> None:
    timeline, peak = data.memory_timeline(name, part, by, rank), data.memory_peak(name, part, rank)
    parts.section(f"Live memory of {_PARTS[part]}", "every allocation and free; bands are text encoding, steps, decoding")
    only_changes = st.toggle("only what comes and goes (less what lives throughout)", key="memory_changes")
    parts.plot(charts.stacked(timeline, peak, only_changes), "memory_timeline")
    parts.legend(_legend(timeline, peak, by))


def _peak(name: str, part: str, rank: int) -> None:
    peak = data.memory_peak(name, part, rank)
    parts.section("The peak, taken apart", _next_peak(peak))
    parts.plot(charts.peak_icicle(data.alive_at_peak(name, part, rank)), "memory_icicle")
    _biggest(peak)


def _legend(timeline: MemoryTimeline, peak: MemoryPeak, by: str) -> list[tuple[str, str, str]]:
    sizes = {"category": peak.by_category, "component": peak.by_component, "role": peak.by_role}.get(by, {})
    return [
        (charts.COLOURS[by](label), label or "not known", format_size(sizes[label]) + " at the peak" if label in sizes else "")
        for label in charts.shown(timeline)
    ]


def _next_peak(peak: MemoryPeak) -> str:
    others = [
        f"{label} {format_size(size)}" for label, size in peak.windows.select("label", "requested_bytes").head(3).iter_rows()
    ]
    return f"highest by window: {', '.join(others)}" if others else ""


def _biggest(peak: MemoryPeak) -> None:
    parts.section(
        "Biggest allocations at the peak", "tick one for its stack; relief is by how much the peak falls if it alone were gone"
    )
    unit, size = unit_of(peak.requested_bytes / 10)
    rows = peak.rows.select(
        (pl.col("size_bytes") / size).alias("size"),
        (pl.col("relief_bytes") / size).alias("relief"),
        "category",
        "component",
        "role",
        "dtype",
        "module",
        "place",
    )
    number = st.column_config.NumberColumn
    picked = st.dataframe(
        rows,
        hide_index=True,
        placeholder="–",
        on_select="rerun",
        selection_mode="single-row",
        key="biggest",
        height=parts.table_height(rows.height),
        column_config={"size": number(f"size, {unit}", format="%.3f"), "relief": number(f"relief, {unit}", format="%.3f")},
    )
    for index in picked["selection"]["rows"]:
        if index < peak.rows.height:
            parts.code(peak.rows["stack_text"][index] or "No stack was recorded for it.")


def _phases(summary: MemorySummary) -> None:
    if any(each.peak_bytes for each in summary.phases):
        parts.section("By phase", "loading and quantizing may need more than inference: peaks are kept apart")
        parts.plot(charts.phases(summary), "memory_phases")

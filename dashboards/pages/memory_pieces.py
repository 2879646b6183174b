"""The part of the Memory page about fragmentation: what is reserved and not live, and in which pieces it lies."""

from __future__ import annotations

import streamlit as st

from dashboards import data, parts
from dashboards.charts import fragmentation as charts
from profiler.core.units import format_size
from profiler.metrics.memory import MemoryPeak


def section(name: str, part: str, rank: int) -> None:
    """Reserved against live over time, and the free pieces at the peak; nothing for a CPU run."""
    peak = data.memory_peak(name, part, rank)
    if peak.free is None:
        return
    parts.section("Fragmentation", _sentence(peak))
    left, right = st.columns([0.56, 0.44])
    with left:
        parts.plot(charts.reserved(data.memory_timeline(name, part, "category", rank)), "memory_reserved")
    with right:
        found = data.free_pieces(name, part, rank)
        if found is None:
            parts.note("Its pieces are not known: segments grow and shrink in place (expandable_segments).")
        else:
            parts.plot(charts.pieces(found), "memory_pieces")


def _sentence(peak: MemoryPeak) -> str:
    free = peak.free
    assert free is not None
    share = free.free_bytes / free.reserved_bytes if free.reserved_bytes else 0.0
    text = f"at the peak {format_size(free.free_bytes)} of {format_size(free.reserved_bytes)} reserved are free ({share:.0%})"
    if free.largest_free_bytes is None or not free.pieces:
        return text
    return (
        f"{text}, in {free.pieces:,} pieces; what is larger than {format_size(free.largest_free_bytes)} asks the device for more"
    )

"""The memory of the HTML report: out of memory, live bytes over time, the peak taken apart, peaks by phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core import palette
from profiler.core.units import GIB, format_size, unit_of
from profiler.report import html_bars, memory_words
from profiler.report.html_data import Gathered, Memory
from profiler.report.html_memory_peak import peak, where
from profiler.report.html_memory_time import over_time
from profiler.report.html_parts import chip, lines, part, section, table
from profiler.report.html_tags import Html, joined, tag


def memory(found: Gathered) -> Html:
    """Everything about memory."""
    call, loading = found.memory, found.loading
    return section(
        "memory",
        "Memory",
        _oom(call),
        over_time(call, f"Live memory: {call.data['covers']}") if call else None,
        peak(call) if call else None,
        over_time(loading, "Live memory: loading, quantizing and the warm-up") if loading else None,
        _phases(found.show["phases"]),
        note="; ".join(each for each in (_whose(call), found.show["memory"]["since_start"]) if each) or None,
    )


def _whose(of: Memory | None) -> str:
    """Of several ranks, whose memory it is."""
    ranks = of.data.get("ranks") if of else None
    return f"rank {of.data['rank']} of {len(ranks)}" if of and ranks else ""


def _oom(of: Memory | None) -> Html:
    oom = of.data["oom"] if of else None
    if not oom:
        return joined()
    rows = [
        [format_size(each["size_bytes"]), chip(palette.of_category(each["category"]), memory_words.kind(each)), where(each)]
        for each in oom["rows"]
    ]
    headers = ("held then", "what", "whose, made where")
    first, *rest = oom["text"]
    return part("Out of memory", tag("p", first, class_="alarm"), lines(rest), table(headers, rows, (1, 2)))


def _phases(every: Sequence[Mapping[str, Any]]) -> Html:
    rows = [each for each in every if each["peak_gib"] is not None]
    if not rows:
        return joined()
    unit, size = unit_of(max(each["peak_gib"] for each in rows) * GIB)
    bars = [_phase(each, unit, GIB / size) for each in rows]
    note = "loading and quantizing may need more than inference; solid: held at the end, faint: the peak, as the allocator counts"
    return part("Peaks by phase", html_bars.rows(bars, f"{unit}, as the allocator counts", "peak of each phase"), note=note)


def _phase(each: Mapping[str, Any], unit: str, scale: float) -> html_bars.Bar:
    peak, end = each["peak_gib"] * scale, (each["alloc_gib"] or 0.0) * scale
    beside, note = f"{peak:,.3f} {unit}", f"{each['name']}: peak {peak:,.3f} {unit}, {end:,.3f} {unit} at its end"
    return html_bars.Bar(each["name"], end, palette.of_category("weights"), beside, note, faint=peak)

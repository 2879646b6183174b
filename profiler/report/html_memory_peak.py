"""The peak taken apart in the HTML report: a figure, the biggest allocations, their stacks, what was free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core import palette
from profiler.core.units import format_ms, format_size
from profiler.report import memory_words
from profiler.report.html_boxes import Leaf, Path, icicle
from profiler.report.html_data import Memory
from profiler.report.html_parts import chip, folded, lines, part, table
from profiler.report.html_tags import Html, Inside, joined, tag

_STACKS = 3


def peak(of: Memory) -> Html:
    """What lived at the highest moment: a figure, the biggest, and what would lower it."""
    peak = of.data["peak"]
    if peak is None:
        return joined()
    leaves = [Leaf((category, component, role), size) for (category, component, role), size in of.held.items()]
    figure = icicle(leaves, "live at the peak", _colour, _bytes, lambda name: name or "not known")
    return part(
        "The peak, taken apart",
        figure,
        _biggest(peak),
        _stack(peak["rows"]),
        lines([_windows(peak), _free(peak["free"])]),
        note=_said(of),
    )


def _colour(path: Path) -> str:
    return palette.of_category(path[0])


def _bytes(size_bytes: float) -> str:
    return memory_words.size(round(size_bytes))


def _said(of: Memory) -> str:
    peak = of.data["peak"]
    where = f" in {peak['window']}" if peak["window"] else ""
    text = f"{format_size(peak['requested_bytes'])} requested{where}"
    if peak["time_us"] is not None:
        text += f", {format_ms((peak['time_us'] - of.data['timeline']['start_us']) / 1e3)} after the first event"
    if peak["allocated_bytes"] is not None:
        text += f"; {format_size(peak['allocated_bytes'])} allocated, {format_size(peak['rounding_bytes'])} of it rounding"
    return f"{text}; by category, component and role"


def _biggest(peak: Mapping[str, Any]) -> Html:
    rows: list[Sequence[Inside]] = [
        [
            memory_words.size(each["size_bytes"]),
            memory_words.size(each["relief_bytes"]),
            "before" if each["age_us"] is None else format_ms(each["age_us"] / 1e3),
            chip(palette.of_category(each["category"]), memory_words.kind(each)),
            where(each),
        ]
        for each in peak["rows"]
    ]
    return table(("biggest live", "peak falls", "age", "what", "whose, made where"), rows, (3, 4))


def where(row: Mapping[str, Any]) -> Html:
    return tag("code", memory_words.where(dict(row)), title=row["place"] or None)


def _stack(rows: Sequence[Mapping[str, Any]]) -> Html:
    """The stacks of the biggest that are no weights: those that a change of the program moves."""
    found = [each for each in rows if each["category"] != "weights" and each["stack_text"]][:_STACKS]
    shown = [
        joined(tag("p", f"{format_size(each['size_bytes'])}, innermost first", class_="where"), tag("pre", each["stack_text"]))
        for each in found
    ]
    return folded("stacks of the biggest that are no weights", *shown)


def _windows(peak: Mapping[str, Any]) -> str:
    named = [f"{each['label']} {format_size(each['requested_bytes'])}" for each in peak["windows"][:4]]
    return f"highest by window: {', '.join(named)}" if len(named) > 1 else ""


def _free(free: Mapping[str, Any] | None) -> str:
    if free is None:
        return ""
    text = f"reserved at the peak: {format_size(free['reserved_bytes'])}, {format_size(free['free_bytes'])} of it free"
    if free["pieces"] is not None:
        text += f" in {free['pieces']} pieces, the largest {format_size(free['largest_free_bytes'])}"
    if free["unused_bytes"]:
        text += f"; {format_size(free['unused_bytes'])} are whole segments that nothing here ever used"
    return text

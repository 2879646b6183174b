"""The memory of the HTML report: peaks by phase, live bytes over time, the peak taken apart, out of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core import palette
from profiler.core.units import GIB, format_ms, format_size
from profiler.report import html_area, html_bars, memory_words
from profiler.report.html_boxes import Leaf, Path, icicle
from profiler.report.html_data import Gathered, Memory
from profiler.report.html_parts import chip, folded, legend, lines, part, section, table, unit_of
from profiler.report.html_tags import Html, Inside, joined, tag

# What lives throughout hides the rest from this share of the peak on.
_HIDES = 0.5
_STACKS = 3


def memory(found: Gathered) -> Html:
    """Everything about memory."""
    call, loading = found.memory, found.loading
    return section(
        "memory",
        "Memory",
        _oom(call),
        _over_time(call, f"Live memory: {call.data['covers']}") if call else None,
        _peak(call) if call else None,
        _over_time(loading, "Live memory: loading, quantizing and the warm-up") if loading else None,
        _phases(found.show["phases"]),
        note=found.show["memory"]["since_start"] or None,
    )


def _oom(of: Memory | None) -> Html:
    oom = of.data["oom"] if of else None
    if not oom:
        return joined()
    rows = [
        [format_size(each["size_bytes"]), chip(palette.of_category(each["category"]), memory_words.kind(each)), _where(each)]
        for each in oom["rows"]
    ]
    headers = ("held then", "what", "whose, made where")
    first, *rest = oom["text"]
    return part("Out of memory", tag("p", first, class_="alarm"), lines(rest), table(headers, rows, (1, 2)))


def _over_time(of: Memory, title: str) -> Html:
    """Stacked by category; where what lives throughout hides the rest, the rest once more by itself."""
    if not of.labels:
        return joined()
    highest = max(sum(values) for values in zip(*(of.live_bytes[name] for name in of.labels), strict=True))
    always = of.always
    parts = [_stacked(of, dict.fromkeys(of.labels, 0), 340.0, "live, {unit} as requested")]
    if sum(always.values()) > _HIDES * highest and highest > sum(always.values()):
        said = f"the same without the {format_size(sum(always.values()))} that live throughout"
        parts += [lines([said]), _stacked(of, always, 250.0, "comes and goes, {unit}")]
    note = f"each column ({format_ms(of.times_ms[1])}) is as high as the highest moment in it"
    if of.data["lower_bound"]:
        note = f"every figure is a lower bound: {of.data['lower_bound']}; {note}"
    return part(title, *parts, _legend(of), note=note)


def _stacked(of: Memory, less: Mapping[str, int], height: float, title: str) -> Html:
    sums = [sum(values) for values in zip(*(of.live_bytes[name] for name in of.labels), strict=True)]
    unit, size = unit_of(max(sums) - sum(less.values()))
    areas = [
        html_area.Area(name, palette.of_category(name), [(each - less[name]) / size for each in of.live_bytes[name]])
        for name in of.labels
    ]
    about = "live memory over time by category"
    return html_area.stacked(
        of.times_ms, areas, _bands(of), _marks(of, sum(less.values()), size), title.format(unit=unit), about, height
    )


def _bands(of: Memory) -> list[html_area.Band]:
    timeline = of.data["timeline"]
    start = timeline["start_us"]
    return [
        html_area.Band(each["name"], (each["start_us"] - start) / 1e3, (each["end_us"] - start) / 1e3)
        for each in timeline["windows"]
    ]


def _marks(of: Memory, less_bytes: int, size: int) -> list[html_area.Mark]:
    peak, oom = of.data["peak"], of.data["oom"]
    start, found = of.data["timeline"]["start_us"], []
    if peak["time_us"] is not None:
        said = f"peak {format_size(peak['requested_bytes'])}"
        found.append(html_area.Mark((peak["time_us"] - start) / 1e3, (peak["requested_bytes"] - less_bytes) / size, said))
    if oom and oom["live_bytes"] is not None and oom["asked_bytes"]:
        said = f"{format_size(oom['asked_bytes'])} more asked"
        found.append(html_area.Mark(of.times_ms[-1], (oom["live_bytes"] - less_bytes) / size, said))
    return found


def _legend(of: Memory) -> Html:
    sizes = of.data["peak"]["by_category"]
    return legend((palette.of_category(name), name, _size(of, name, sizes.get(name, 0))) for name in of.labels)


def _size(of: Memory, name: str, at_peak: int) -> str:
    """What a label holds at the peak, or at its own highest where it holds nothing then."""
    if at_peak:
        return f"{memory_words.size(at_peak)} at the peak"
    return f"0 at the peak, at most {memory_words.size(max(of.live_bytes[name]))}"


def _peak(of: Memory) -> Html:
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
            _where(each),
        ]
        for each in peak["rows"]
    ]
    return table(("biggest live", "peak falls", "age", "what", "whose, made where"), rows, (3, 4))


def _where(row: Mapping[str, Any]) -> Html:
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

"""Live memory over time in the HTML report."""

from __future__ import annotations

from collections.abc import Mapping

from profiler.core import palette
from profiler.core.units import format_ms, format_size, unit_of
from profiler.report import html_area, memory_words
from profiler.report.html_data import Memory
from profiler.report.html_parts import legend, lines, part
from profiler.report.html_tags import Html, joined

# What lives throughout hides the rest from this share of the peak on.
_HIDES = 0.5


def over_time(of: Memory, title: str) -> Html:
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

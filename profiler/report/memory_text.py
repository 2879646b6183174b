"""`memory` for people: the timeline, the peak taken apart, what would lower it, growth, out of memory."""

from __future__ import annotations

import textwrap
from typing import Any

from profiler.core.printable import plain_line
from profiler.core.units import format_ms, format_size
from profiler.report import memory_ranks, memory_words
from profiler.report.memory_chart import chart
from profiler.report.names import shorten
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, table

_KIND, _FRAMES = 34, 6
# What a table needs beside a text of free width: its numbers and the gaps between columns.
_ROW_NUMBERS, _GROUP_NUMBERS = 45, 42


def memory_text(data: dict[str, Any], width: int = MAX_WIDTH) -> str:
    """The text of `memory_data`'s result, at most `width` columns (80 to 120)."""
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    parts = [
        _head(data, width),
        memory_ranks.text(data, width),
        _filled(data["problem"] and f"no timeline: {data['problem']}", width),
    ]
    if data["lower_bound"]:
        parts.append(_filled(f"!! every figure below is a lower bound: {data['lower_bound']}", width))
    if data["timeline"]:
        parts.append(chart(data["timeline"], data["peak"]["time_us"], width))
    if data["peak"]:
        parts += [_peak(data["peak"], data["timeline"], width), _rows(data["peak"], width), _groups(data["peak"], width)]
        parts += [_filled(_lower(data["peak"]), width), _filled(_reserved(data["peak"]["free"]), width)]
    parts += [_growth(data["growth"], width), _oom(data["oom"], width)]
    return "\n\n".join(part for part in parts if part)


def _filled(text: str | None, width: int) -> str:
    if not text:
        return ""
    return textwrap.fill(plain_line(text), width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _head(data: dict[str, Any], width: int) -> str:
    summary = data["summary"]
    names = {
        "model memory": summary["model_bytes"],
        "load peak": summary["load_peak_bytes"],
        "quantize peak": summary["quantize_peak_bytes"],
        "inference peak": summary["inference_peak_bytes"],
        "since start": summary["since_start_peak_bytes"],
    }
    sizes = ", ".join(f"{name} {format_size(size)}" for name, size in names.items() if size is not None)
    lines = [f"{data['run']}  [{data['status']}]: {data['covers']}, by {data['by']}{memory_ranks.whose(data)}"]
    return "\n".join([*lines, *(_filled(each, width) for each in (sizes, summary["since_start"]) if each)])


def _peak(peak: dict[str, Any], timeline: dict[str, Any], width: int) -> str:
    window = f" in {peak['window']}" if peak["window"] else ""
    at = f", {format_ms((peak['time_us'] - timeline['start_us']) / 1e3)} after the first event" if peak["time_us"] else ""
    lines = [f"the peak: {format_size(peak['requested_bytes'])} requested{window}{at}"]
    if peak["allocated_bytes"] is not None:
        lines[0] += f"; {format_size(peak['allocated_bytes'])} allocated, {format_size(peak['rounding_bytes'])} of it rounding"
    lines += [f"by {name}: {memory_words.listed(peak[f'by_{name}'])}" for name in ("category", "component", "role")]
    return "\n".join(_filled(each, width) for each in lines)


def _rows(peak: dict[str, Any], width: int) -> str:
    rows = [
        (
            format_size(each["size_bytes"]),
            memory_words.size(each["relief_bytes"]),
            _age(each["age_us"]),
            shorten(memory_words.kind(each), _KIND),
            each,
        )
        for each in peak["rows"]
    ]
    body = [(*numbers, what, shorten(plain_line(memory_words.where(each)), _room(rows, width))) for *numbers, what, each in rows]
    headers = ("biggest live", "peak falls", "age", "what", "whose, made where")
    return "\n".join([table(headers, body, width, left=(3, 4)), *_stack(peak["rows"], width)]) if body else ""


def _room(rows: list[tuple[Any, ...]], width: int) -> int:
    """Columns left for the last text of a table."""
    kinds = max((len(each[-2]) for each in rows), default=0)
    return max(12, width - _ROW_NUMBERS - max(kinds, 4))


def _stack(rows: list[dict[str, Any]], width: int) -> list[str]:
    """The stack of the biggest that is no weight: the one that a change of the program moves."""
    found = next((each for each in rows if each["category"] != "weights" and each["stack_text"]), None)
    if found is None:
        return []
    frames = found["stack_text"].split("\n")
    lines = [f"  {shorten(plain_line(each), width - 2)}" for each in frames[:_FRAMES]]
    more = [f"  and {len(frames) - _FRAMES} more frames (--json)"] if len(frames) > _FRAMES else []
    return [f"stack of the biggest that is no weight ({format_size(found['size_bytes'])}), innermost first:", *lines, *more]


def _age(age_us: int | None) -> str:
    return "before" if age_us is None else format_ms(age_us / 1e3)


def _groups(peak: dict[str, Any], width: int) -> str:
    rows = [
        (
            format_size(each["size_bytes"]),
            f"{each['count']:,}",
            memory_words.size(each["relief_bytes"]),
            memory_words.kind(each),
            each,
        )
        for each in peak["groups"]
        # A layer's weight and bias are listed as they are.
        if each["count"] > 1 and not (each["category"] == "weights" and each["module"] != each["component"])
    ]
    kinds = max((len(each[3]) for each in rows), default=0)
    room = max(12, width - _GROUP_NUMBERS - kinds)
    body = [(*numbers, shorten(plain_line(memory_words.where(each)), room)) for *numbers, each in rows]
    return table(("many alike", "count", "peak falls", "what", "whose, made where"), body, width, left=(3, 4)) if body else ""


def _lower(peak: dict[str, Any]) -> str:
    """How far the peak can fall before another window is the highest."""
    windows = peak["windows"]
    if len(windows) < 2:
        return ""
    first, second = windows[0], windows[1]
    room = first["requested_bytes"] - second["requested_bytes"]
    return (
        f"to lower the peak: what lives only in {first['label']} is worth at most {format_size(room)}, then {second['label']} "
        f"is the highest ({format_size(second['requested_bytes'])}); what lives throughout, as weights do, lowers both. "
        "'peak falls' is what each alone is worth, 0 where another moment is as high without it"
    )


def _reserved(free: dict[str, Any] | None) -> str:
    if free is None:
        return ""
    text = f"reserved at the peak: {format_size(free['reserved_bytes'])}, {format_size(free['free_bytes'])} of it free"
    if free["pieces"] is not None:
        text += f" in {free['pieces']} pieces, the largest {format_size(free['largest_free_bytes'])}"
    if free["expandable_bytes"]:
        text += f"; {format_size(free['expandable_bytes'])} in expandable segments"
    if free["unused_bytes"]:
        text += f"; {format_size(free['unused_bytes'])} are whole segments that nothing here ever used"
    return text if free["exact"] else f"{text} (free bytes by requests rounded up to 512 bytes)"


def _growth(growth: dict[str, Any] | None, width: int) -> str:
    if growth is None:
        return ""
    ends = ", ".join(format_size(each["live_bytes"]) for each in growth["steps"][:8])
    more = ", ..." if len(growth["steps"]) > 8 else ""
    lines = [f"live at the end of each step: {ends}{more}"]
    if growth["leak_bytes"] is None:
        lines.append("whether steps leak cannot be told from fewer than three (record with --trace-steps 3 or more)")
    elif growth["leak_bytes"]:
        kept = next((each for each in growth["kept"] if each["steady"]), None)
        by = f", most by {memory_words.where(kept)}" if kept else ""
        lines.append(f"every step leaves {format_size(growth['leak_bytes'])} behind{by}")
    else:
        lines.append("no step leaves anything behind that the next does not replace")
    return "\n".join(_filled(each, width) for each in lines)


def _oom(oom: dict[str, Any] | None, width: int) -> str:
    if oom is None:
        return ""
    held = [
        (
            format_size(each["size_bytes"]),
            shorten(memory_words.kind(each), _KIND),
            shorten(plain_line(memory_words.where(each)), width - 55),
        )
        for each in oom["rows"]
    ]
    grid = table(("held then", "what", "whose, made where"), held, width, left=(1, 2)) if held else ""
    return "\n".join([*(_filled(each, width) for each in oom["text"]), *([grid] if grid else [])])

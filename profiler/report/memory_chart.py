"""Memory over time as characters: one row a label, windows as a band above."""

from __future__ import annotations

from typing import Any

from profiler.core.printable import plain_line
from profiler.core.units import format_ms
from profiler.report.memory_slots import Slots, columns
from profiler.report.memory_words import size
from profiler.report.names import shorten

_BLOCKS = " ▁▂▃▄▅▆▇█"
_LABEL, _NUMBER, _GAP = 22, 11, 2
_TOTAL_LINES = 4


def chart(timeline: dict[str, Any], peak_us: int | None, width: int) -> str:
    """The timeline of `memory_data` at `width` columns: the total in four lines, each label in one.

    Every column is the highest of its stretch of time. Labels are drawn to their own highest, which stands beside them.
    """
    inner = max(20, width - _LABEL - _NUMBER - 2 * _GAP)
    slots = Slots(timeline["start_us"], timeline["end_us"])
    total = columns(timeline["total"], inner)
    band = _band(timeline["windows"], slots, timeline["slots"], inner)
    rows = [f"{'':<{_LABEL + _GAP}}{band}".rstrip()] if timeline["windows"] else []
    rows += _tall("total", total)
    rows += [_row(each["label"], columns(each["bytes"], inner), each["highest_bytes"]) for each in timeline["labels"]]
    if peak_us is not None:
        at = slots.number(peak_us) * inner // timeline["slots"]
        rows.append(f"{'':<{_LABEL + _GAP}}{'▲ peak'.rjust(at + 6) if at + 6 <= inner else 'peak ▲'.rjust(at + 1)}")
    span_ms = (slots.end_us - slots.start_us) / 1e3
    head = f"{format_ms(span_ms)}, {format_ms(span_ms / inner)} a column; each row to its own highest, at the right"
    return "\n".join([head, *rows])


def _band(windows: list[dict[str, Any]], slots: Slots, count: int, inner: int) -> str:
    """The windows, in order of start, as one line: each begins with a bar, then its name as far as it fits."""
    line = [" "] * inner
    edges = [tuple(slots.number(each[key]) * inner // count for key in ("start_us", "end_us")) for each in windows]
    for index, ((start, end), each) in enumerate(zip(edges, windows, strict=True)):
        line[start:end] = "·" * (end - start)
        # A name may run over what lies behind its window, up to the next.
        until = min([other for other, _ in edges[index + 1 :]], default=inner)
        text = ("│" + plain_line(each["name"]))[: max(1, until - start)]
        line[start : start + len(text)] = text
    return "".join(line[:inner])


def _tall(label: str, values: list[int]) -> list[str]:
    """A row of `_TOTAL_LINES` lines."""
    highest = max(values, default=0)
    eighths = [round(value * _TOTAL_LINES * 8 / highest) if highest else 0 for value in values]
    lines = []
    for line in reversed(range(_TOTAL_LINES)):
        blocks = "".join(_BLOCKS[min(8, max(0, each - 8 * line))] for each in eighths)
        first = line == _TOTAL_LINES - 1
        lines.append(_line(label if first else "", blocks, size(highest) if first else ""))
    return lines


def _row(label: str, values: list[int], highest: int) -> str:
    """Anything above 0 is drawn."""
    blocks = "".join(_BLOCKS[0 if not value else max(1, round(value * 8 / highest))] for value in values)
    return _line(plain_line(label), blocks, size(highest))


def _line(label: str, blocks: str, size: str) -> str:
    return f"{shorten(label, _LABEL):<{_LABEL}}{'':{_GAP}}{blocks}{'':{_GAP}}{size:>{_NUMBER}}".rstrip()

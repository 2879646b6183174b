"""`ranks` for people: our numbers beside those of Holistic Trace Analysis (HTA), then each of its analyses."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from profiler.core.printable import one_line, printable
from profiler.report.hta import OURS, told
from profiler.report.names import readable, shorten
from profiler.report.rank_notes import trace_notes
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, number, percent, table
from profiler.rundir import layout
from profiler.tables.hta_answer import CRITICAL_PATH, IDLE, LATE_KERNEL_US, LAUNCHES, OVERLAP, QUEUE, SLOW_CALL_US, TEMPORAL

Row = dict[str, Any]
_PARTS = {"compute": "compute_us", "exposed": "exposed_us", "waiting": "waiting_us", "idle": "idle_us"}
# What the columns before the name of an event take.
_OTHERS = 70


def hta_text(data: dict[str, Any], width: int = MAX_WIDTH) -> str:
    """The text of `hta_data`'s result, at most `width` columns (80 to 120)."""
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    parts = [_head(data), _own(data, width), _beside(data, width)]
    parts += [_analysis(each, width) for each in data["analyses"]]
    parts += [_failed(data, width), _notes(data, width)]
    return "\n\n".join(part for part in parts if part)


def _head(data: dict[str, Any]) -> str:
    ranks, every = len(data["ranks"]), len(data["summary"]["ranks"])
    count = f"{ranks} of {every}" if ranks < every else f"{ranks}"
    what = f"{data['run']}  [{data['status']}, {count} rank{'s' if every != 1 else ''}]"
    return f"{what}\nHolistic Trace Analysis: {data['hta']['name']} ({data['hta']['package']})"


def _own(data: dict[str, Any], width: int) -> str:
    """Our own view: what a window of each rank is made of, and whom it waits for."""
    summary = data["summary"]
    timed = [row for row in summary["ranks"] if row["step_us"]]
    if not timed:
        return ""
    headers = ["rank", summary["window"], *(name for name in _PARTS), "hidden", "waits for"]
    keys = ("step_us", *_PARTS.values(), "hidden_us")
    waits = [[(each["for_rank"], each["us"]) for each in summary["waits"] if each["rank"] == row["rank"]] for row in timed]
    rows = [
        [str(row["rank"]), *(number(row[key] / 1e3, 3) for key in keys), _most(waited)]
        for row, waited in zip(timed, waits, strict=True)
    ]
    slow = f"; rank {summary['slowest']} is the slowest" if len(timed) > 1 else ""
    traced = max(row["steps"] for row in timed)
    mean = f" (mean of {traced})" if traced > 1 else ""
    title = f"{OURS}: traced ms a {summary['window']}{mean}{slow}"
    notes = [_filled(note, width) for note in trace_notes(summary["ranks"])]
    return "\n".join([title, table(headers, rows, width, left=(0, len(headers) - 1)), *notes])


def _most(waited: list[tuple[int, float]]) -> str:
    rank, us = max(waited, key=lambda each: each[1], default=(0, 0.0))
    return f"rank {rank}: {us / 1e3:,.3f}" if us else "-"


def _beside(data: dict[str, Any], width: int) -> str:
    """Numbers that both have; traced, from a rank's first GPU event to the end of its last."""
    if not data["beside"]:
        return ""
    rows = [
        [str(row["rank"]), row["what"], _value(row, "hta"), _value(row, "own"), _difference(row["difference"])]
        for row in data["beside"]
    ]
    headers = ["rank", "traced device time", data["hta"]["name"], OURS, "off, %"]
    return table(headers, rows, width, left=(0, 1))


def _value(row: Row, key: str) -> str:
    value = row[key]
    if value is None:
        return "-"
    return f"{percent(value)} %" if row["unit"] == "share" else f"{value / 1e3:,.3f} ms"


def _difference(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:+z.2f}"


def _analysis(each: dict[str, Any], width: int) -> str:
    """One analysis, under the name of who made it; nothing where `_beside` shows it already or it failed for every rank."""
    if each["name"] in (TEMPORAL, OVERLAP):
        return ""
    headers, cells, left = _TABLES[each["name"]]
    rows = [[str(of["rank"]), *cells(row, width)] for of in each["ranks"] for row in of["rows"]]
    if not rows:
        return ""
    lines = [f"{each['by']}: {each['title']}", table(["rank", *headers], rows, width, left=(0, *left))]
    return "\n".join([*lines, *([_filled(_BELOW[each["name"]], width)] if each["name"] in _BELOW else [])])


def _idle(row: Row, _: int) -> list[str]:
    return [str(row["stream"]), row["category"].replace("_", " "), number(row["idle_us"] / 1e3, 3), percent(row["share"])]


def _launches(row: Row, _: int) -> list[str]:
    times = [number(row[f"{name}_median_us"]) for name in ("call", "kernel", "delay")]
    return [
        number(row["launches"], 0),
        *times,
        *(number(row[name], 0) for name in ("short_kernels", "slow_calls", "late_kernels")),
    ]


def _queue(row: Row, _: int) -> list[str]:
    return [str(row["stream"]), number(row["mean"]), *(number(row[name], 0) for name in ("q25", "median", "q75", "most"))]


def _path(row: Row, width: int) -> list[str]:
    longest = shorten(readable(row.get("longest") or ""), width - _OTHERS)
    window = row["window"].removeprefix(layout.MARK_PREFIX)
    return [
        shorten(window, 20),
        row["bound_by"].replace("_", " "),
        number(row["dur_us"] / 1e3, 3),
        percent(row["share"]),
        longest,
    ]


_BELOW = {
    LAUNCHES: f"medians; short: kernels shorter than their call, slow: calls above {SLOW_CALL_US} us, "
    f"late: kernels more than {LATE_KERNEL_US} us after it"
}
_TABLES: dict[str, tuple[list[str], Callable[[Row, int], list[str]], tuple[int, ...]]] = {
    IDLE: (["stream", "cause", "idle, ms", "%"], _idle, (2,)),
    LAUNCHES: (["launches", "call, us", "kernel, us", "delay, us", "short", "slow", "late"], _launches, ()),
    QUEUE: (["stream", "mean length", "25 %", "median", "75 %", "most"], _queue, ()),
    CRITICAL_PATH: (["window", "bound by", "ms", "%", "most of it"], _path, (1, 2, 5)),
}


def _failed(data: dict[str, Any], width: int) -> str:
    """Every failure by name; ranks and analyses that failed alike share a line."""
    lines = [f"rank {each['rank']}, {each['by']}: its trace is not read: {each['why']}" for each in data["not_read"]]
    reasons: dict[tuple[int, str], list[str]] = {}
    for analysis in data["analyses"]:
        for of in analysis["ranks"]:
            if of["why"]:
                reasons.setdefault((of["rank"], of["why"]), []).append(analysis["title"])
    every, alike = len(data["analyses"]), dict[tuple[str, str], list[str]]()
    for (rank, why), titles in reasons.items():
        what = "every analysis" if 1 < every == len(titles) else ", ".join(titles)
        alike.setdefault((what, why), []).append(str(rank))
    lines += [f"rank {', '.join(ranks)}, {data['hta']['name']}: {what}: {why}" for (what, why), ranks in alike.items()]
    return "\n".join(["failed", *(_filled(line, width) for line in lines)]) if lines else ""


def _notes(data: dict[str, Any], width: int) -> str:
    return "\n".join(
        _filled(note if note.startswith("HTA ") else f"{data['hta']['name']} says: {note}", width) for note in told(data)
    )


def _filled(text: str, width: int) -> str:
    clean = printable(one_line(text))
    return textwrap.fill(clean, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)

"""A sweep for people: its cells by the work they do, what to ship, what is not known, the seed beside it."""

from __future__ import annotations

import textwrap
from typing import Any

from profiler.metrics.sweep_front import WORK
from profiler.report import sweep_words as words
from profiler.report.names import shorten
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, table
from profiler.report.sweep_plan_text import plan_text
from profiler.report.sweep_seed_text import seed_text

_HEADERS = ("", "cell", "time s", "peak", "model", "load", "quantize s", "compile s", "breaks", "SQNR", "PSNR")
# What a table gives up first where it does not fit.
_GIVE_WAY = ("quantize s", "PSNR", "load", "breaks")
# Names up to this length are worth more than the columns that give way.
_GAP, _NAME_LEAST = 3, 30
# Of a reason: two lines say what it is, the JSON has all.
_REASON_MOST = 120


def sweep_text(data: dict[str, Any], width: int = 100) -> str:
    """The text of `sweep_data`'s result, at most `width` columns (80 to 120)."""
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    parts = [_head(data, width)]
    parts += [_group(each, data, width) for each in data["groups"]]
    parts += [_unfinished(data, width), _legend(data, width), _advice(data, width), _not_known(data, width)]
    parts += [seed_text(data["against_seed"], width)] if data["against_seed"] else []
    parts += [plan_text(data["plan"], width)] if data["plan"] else []
    return "\n\n".join(part for part in parts if part)


def _head(data: dict[str, Any], width: int) -> str:
    done = sum(each["status"] == "ok" for each in data["cells"])
    preset = f", preset {data['preset']}" if data["preset"] else ""
    status = f"  [sweep, {data['status']}]" if data["status"] else ""
    return f"{shorten(data['run'], width - len(status))}{status}\n{done} of {len(data['cells'])} cells went well{preset}"


def _group(group: dict[str, Any], data: dict[str, Any], width: int) -> str:
    named = set(group["ids"])
    rows = sorted((each for each in data["cells"] if each["id"] in named), key=lambda each: each["time_s"])
    cells = [_cells(row) for row in rows]
    shown = [name for index, name in enumerate(_HEADERS) if index < 2 or any(row[index] not in ("-", "") for row in cells)]
    sizes = {name: max(len(name), *(len(row[index]) for row in cells)) + _GAP for index, name in enumerate(_HEADERS)}
    for name in _GIVE_WAY:
        least = sum(sizes[each] for each in shown if each != "cell") + min(sizes["cell"], _NAME_LEAST) - _GAP
        if name in shown and least > width:
            shown.remove(name)
    room = width - sum(sizes[each] for each in shown if each != "cell")
    kept = [[shorten(row[1], room) if name == "cell" else row[_HEADERS.index(name)] for name in shown] for row in cells]
    return f"{shorten(words.work(group['work']), width)}\n" + table(shown, kept, width, left=(0, 1))


def _cells(row: dict[str, Any]) -> list[str]:
    sizes = [words.size(row[name]) for name in ("inference_peak_gib", "model_memory_gib", "load_peak_gib")]
    spent = [words.duration(row[name]) for name in ("quantize_s", "compile_s")]
    breaks = "-" if row["graph_breaks"] is None else str(row["graph_breaks"])
    levels = [words.level(row, name) for name in ("sqnr_db", "psnr_db")]
    return [words.FRONT if row["pareto"] else "", row["id"], words.seconds(row), *sizes, *spent, breaks, *levels]


def _unfinished(data: dict[str, Any], width: int) -> str:
    named = {name for group in data["groups"] for name in group["ids"]}
    rows = [row for row in data["cells"] if row["id"] not in named]
    if not rows:
        return ""
    room = min(max(len(row["id"]) for row in rows), 36)
    lines = ["cells without a time"]
    for row in rows:
        label = f"  {shorten(row['id'], room):<{room}}  {row['status']:<11}  "
        reason = words.first_words(row["reason"], _REASON_MOST)
        lines += _filled(label, reason, width, len(label)) if reason else [label.rstrip()]
    return "\n".join(lines)


def _legend(data: dict[str, Any], width: int) -> str:
    used = [words.FRONT] * bool(data["pareto"]) + [words.EXTRAPOLATED] * any(row["extrapolated"] for row in data["cells"])
    lines = [line for mark in used for line in _filled(f"{mark} ", words.LEGEND[mark], width)]
    if data["groups"]:
        lines += _filled("", words.units(data["cells"]), width)
    return "\n".join(lines)


def _advice(data: dict[str, Any], width: int) -> str:
    lines: list[str] = []
    several = len({tuple(each["work"][name] for name in WORK) for each in data["recommended"]}) > 1
    before = None
    for each in data["recommended"]:
        if several and each["work"] != before:
            lines.append(shorten(words.work(each["work"]), width))
            before = each["work"]
        lines += _filled(f"{'  ' * several}{each['what']}: ", each["text"], width, 4)
    return "\n".join(lines)


def _not_known(data: dict[str, Any], width: int) -> str:
    return "\n".join(line for each in data["not_known"] for line in _filled("note: ", each, width, 6))


def _filled(label: str, text: str, width: int, indent: int = 2) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=label, subsequent_indent=" " * indent, break_long_words=True, break_on_hyphens=False
    )

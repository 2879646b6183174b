"""Three runs or more: one table, and one memory timeline laid over the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from profiler.report.compare_words import size
from profiler.report.names import shorten
from profiler.report.render import number, table

_LEVELS = "▁▂▃▄▅▆▇█"
_HEADERS = ("run", "scheme", "call ms", "step ms", "x base", "model GiB", "peak GiB", "SQNR dB")
_RANKS = "ranks"
_MOST_NAME = 40
_GAP = 3


def runs(data: dict[str, Any], width: int) -> str:
    """The table, what must be known about its rows, then the timelines."""
    names = _names([row["run"] for row in data["runs"]])
    several = any(row["ranks"] > 1 for row in data["runs"])
    headers = (*_HEADERS, _RANKS) if several else _HEADERS
    cells = [_cells(row) + ((str(row["ranks"]),) if several else ()) for row in data["runs"]]
    taken = sum(_GAP + max(map(len, column)) for column in zip(headers[1:], *cells, strict=True))
    room = max(12, min(_MOST_NAME, width - taken))
    shown = [(shorten(name, room), *row) for name, row in zip(names, cells, strict=True)]
    lines = [
        table(headers, shown, width, left=(0, 1)),
        "x base: how many times as fast as the first run; SQNR: its last latents",
    ]
    lines += [f"{name}: ended {row['status']}" for name, row in zip(names, data["runs"], strict=True) if row["status"] != "ok"]
    return "\n".join(lines) + _timelines(data["timelines"], names, room)


def _names(paths: Sequence[str]) -> list[str]:
    """The last part of each path where that tells them apart, else all of it."""
    short = [PurePath(path).name for path in paths]
    return short if len(set(short)) == len(short) else list(paths)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["scheme"] or "-",
        number(row["median_ms"], 1),
        number(row["ms_per_step"], 1),
        number(row["speedup"], 2) if row["comparable"] else "-",
        number(row["model_gib"], 2),
        number(row["inference_peak_gib"], 2),
        number(row["sqnr_db"], 1),
    )


def _timelines(timelines: Sequence[dict[str, Any]], names: Sequence[str], room: int) -> str:
    drawn = [(shorten(name, room), each["points"]) for name, each in zip(names, timelines, strict=True) if each["points"]]
    if not drawn:
        return ""
    sizes = [point["live_bytes"] for _, points in drawn for point in points]
    lowest, highest = min(sizes), max(sizes)
    widest = max(len(name) for name, _ in drawn)
    lines = [f"live memory over a call ({_LEVELS[0]} {size(lowest)}, {_LEVELS[-1]} {size(highest)} requested)"]
    lines += [f"{name:<{widest}}   {_drawn(points, lowest, highest)}" for name, points in drawn]
    lines.append(f"{'':<{widest}}   {_axis(drawn[0][1])}")
    missing = [(name, each["not_compared"]) for name, each in zip(names, timelines, strict=True) if not each["points"]]
    return "\n\n" + "\n".join([*lines, *(f"{name}: no timeline: {why}" for name, why in missing)])


def _drawn(points: Sequence[dict[str, Any]], lowest: int, highest: int) -> str:
    steps = len(_LEVELS) - 1
    return "".join(_LEVELS[round((each["live_bytes"] - lowest) * steps / ((highest - lowest) or 1))] for each in points)


def _axis(points: Sequence[dict[str, Any]]) -> str:
    """The names of the stretches under where they begin."""
    counts: dict[str, int] = {}
    for each in points:
        counts[each["stretch"]] = counts.get(each["stretch"], 0) + 1
    return "".join(f"{name:<{count}}"[:count] for name, count in counts.items()).rstrip()

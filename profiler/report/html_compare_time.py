"""Where the time of two runs differs, in the HTML report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core import palette
from profiler.metrics.compare_time import group_of
from profiler.report.compare_words import (
    signed,
)
from profiler.report.html_parts import chip, folded, part, table
from profiler.report.html_tags import Html, Inside, joined, tag
from profiler.report.html_waterfall import Change, waterfall
from profiler.report.names import readable, shorten

_KERNELS, _NAME = 15, 60
_SHOWN_MS = 0.0005


def changes(data: Mapping[str, Any]) -> list[Html]:
    windows = {each["name"]: each for each in data["time"]["windows"]}
    window = windows.get("step") or windows.get("call")
    if window is None:
        return []
    groups = [Change(each["name"], each["base_ms"], each["new_ms"]) for each in window["groups"]]
    note = f"untraced ms of a {window['name']}; {_times(window)}"
    return [
        part(f"Where a {window['name']} changed", waterfall(groups, "ms", f"a {window['name']}"), _classes(window), note=note),
        _kernels(window),
    ]


def _times(window: Mapping[str, Any]) -> str:
    times, per_call = window["times_a_call"], window["per_call_ms"]
    return "steps of a call differ" if times is None else f"{times} a call: {signed(per_call, 1)} ms"


def _classes(window: Mapping[str, Any]) -> Html:
    kept = [each for each in window["classes"] if max(each["base_ms"], each["new_ms"]) >= _SHOWN_MS]
    rows: list[Sequence[Inside]] = [
        [
            chip(palette.of_row(each["kind"], each["label"]), each["label"]),
            group_of(each["kind"], each["label"]),
            *_numbers(each),
            each["status"],
        ]
        for each in sorted(kept, key=lambda each: -abs(each["delta_ms"]))
    ]
    rows.append([f"a {window['name']}", "", *_numbers(window), ""])
    return folded("every class", table(("class", "group", "base ms", "new ms", "change", ""), rows, (0, 1, 5), sums=True))


def _kernels(window: Mapping[str, Any]) -> Html:
    busy = [each for each in window["kernels"] if each["kind"] == "busy"]
    rows: list[Sequence[Inside]] = [
        [
            tag("code", shorten(readable(each["detail"]), _NAME), title=each["detail"]),
            chip(palette.of_class(each["label"]), each["label"]),
            f"{each['base_count']:,.0f} → {each['new_count']:,.0f}",
            *_numbers(each),
            each["status"],
        ]
        for each in busy[:_KERNELS]
    ]
    more = f"the first {_KERNELS} of {len(busy)} by what changed" if len(busy) > _KERNELS else None
    headers = ("kernel", "class", "calls", "base ms", "new ms", "change", "")
    return part(f"Kernels of a {window['name']} that changed most", table(headers, rows, (0, 1, 6)), note=more)


def call(time: Mapping[str, Any]) -> Html:
    base, new = time["base"]["median_ms"], time["new"]["median_ms"]
    if base is None or new is None:
        return joined()
    rows = [[each["name"], *_numbers(each, 1)] for each in time["parts"]]
    rows.append(["a call, as timed", f"{base:,.1f}", f"{new:,.1f}", signed(time["delta_ms"], 1)])
    said = None
    if time["break_even_calls"] is not None:
        ready = f"quantizing and the first call take {time['ready_ms'] / 1e3:,.1f} s more"
        said = f"{ready}: earned back after {time['break_even_calls']:,.0f} calls"
    return part("A whole call", table(("part", "base ms", "new ms", "change"), rows, sums=True), note=said)


def _numbers(row: Mapping[str, Any], decimals: int = 3) -> tuple[str, str, str]:
    return f"{row['base_ms']:,.{decimals}f}", f"{row['new_ms']:,.{decimals}f}", signed(row["delta_ms"], decimals)

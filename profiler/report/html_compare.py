"""A run against its base in the HTML report: verdicts first, then where the difference comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core import palette
from profiler.core.units import GIB
from profiler.metrics.compare_time import group_of
from profiler.report.compare_words import (
    ABSENT,
    EATEN,
    MASKED,
    NOT_COMPARABLE,
    REAL,
    SLOWER,
    UNKNOWN,
    WITHIN,
    scale_of,
    signed,
)
from profiler.report.html_data import Gathered
from profiler.report.html_parts import beside, bullets, chip, folded, lines, part, section, table
from profiler.report.html_tags import Html, Inside, joined, tag
from profiler.report.html_waterfall import Change, waterfall
from profiler.report.names import readable, shorten

_COLOURS = {
    REAL: palette.FASTER,
    "identical": palette.FASTER,
    MASKED: palette.SEVERITIES["medium"],
    EATEN: palette.SEVERITIES["medium"],
    ABSENT: palette.SLOWER,
    SLOWER: palette.SLOWER,
    "broken": palette.SEVERITIES["critical"],
    **dict.fromkeys((WITHIN, NOT_COMPARABLE, UNKNOWN), palette.SEVERITIES["low"]),
}
_KERNELS, _NAME = 15, 60
_SHOWN_MS = 0.0005


def comparison(found: Gathered) -> Html:
    """The comparison with the base run; nothing without one."""
    data = found.comparison
    if data is None:
        return joined()
    verdicts = [_verdict(about, each) for about, each in data["verdicts"].items()]
    return section(
        "comparison",
        "Is the win real?",
        *verdicts,
        lines(_conditions(data)),
        *_time(data),
        _peak(data["memory"]["peak"]),
        _tables(data),
        part("Not compared", bullets(_not_compared(data))),
        note=f"{data['run']} against {data['base']}",
    )


def _verdict(about: str, verdict: Mapping[str, str]) -> Html:
    colour = _COLOURS.get(verdict["kind"], palette.TOTAL)
    head = tag("h4", tag("span", verdict["kind"], class_="mark"), about)
    return tag("article", head, tag("p", verdict["text"], class_="price"), class_="card", style=f"--c:{colour}")


def _conditions(data: Mapping[str, Any]) -> list[str]:
    spoiling = [each for each in data["differences"] if each["spoils"]]
    changed = [each for each in data["differences"] if not each["spoils"]]
    found = [f"not comparable in {_listed(spoiling)}"] if spoiling else []
    found += [f"changed: {_listed(changed)}"] if changed else []
    found += [f"not known to be the same: {', '.join(data['unknown'])}"] if data["unknown"] else []
    for name, ended in data["ended"].items():
        if ended["status"] != "ok":
            phase = f" in phase {ended['phase']}" if ended["phase"] else ""
            found.append(f"the {name} run ended {ended['status']}{phase}: its figures are of what it reached")
    return found


def _listed(differences: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{each['what']} {each['base']} → {each['new']}" for each in differences)


def _time(data: Mapping[str, Any]) -> list[Html]:
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


def _call(time: Mapping[str, Any]) -> Html:
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


def _peak(rows: Sequence[Mapping[str, Any]]) -> Html:
    changes = [Change(each["name"], each["base_bytes"] / GIB, each["new_bytes"] / GIB) for each in rows if _known(each)]
    if not any(each.base or each.new for each in changes):
        return joined()
    return part("What lived at the peak of a call", waterfall(changes, "GiB", "at the peak of a call"))


def _tables(data: Mapping[str, Any]) -> Html:
    memory, expected = data["memory"], data["expected"]
    return beside(
        _call(data["time"]),
        part("Model memory and peaks", _sizes(memory["phases"])),
        part("At the peak of a call", _sizes(memory["peak"])),
        part("Weights against arithmetic", _weights(expected["components"])) if not expected["not_compared"] else joined(),
    )


def _known(row: Mapping[str, Any]) -> bool:
    return row["base_bytes"] is not None and row["new_bytes"] is not None


def _sizes(every: Sequence[Mapping[str, Any]]) -> Html:
    known = [each for each in every if _known(each)]
    scale = scale_of(*(each[name] for each in known for name in ("base_bytes", "new_bytes")))
    rows = [
        [
            each["name"],
            *(f"{scale.of(each[name]):,.3f}" for name in ("base_bytes", "new_bytes")),
            signed(scale.of(each["delta_bytes"])),
        ]
        for each in known
    ]
    return table((scale.unit, "base", "new", "change"), rows)


def _weights(components: Sequence[Mapping[str, Any]]) -> Html:
    names = ("base_bytes", "expected_bytes", "new_bytes")
    scale = scale_of(*(each[name] for each in components for name in names))
    rows = [
        [each["component"], *("-" if each[name] is None else f"{scale.of(each[name]):,.3f}" for name in names)]
        for each in components
    ]
    return table((scale.unit, "base", "by arithmetic", "stored"), rows)


def _not_compared(data: Mapping[str, Any]) -> list[str]:
    reasons = {
        "time by window": data["time"]["not_compared"],
        "memory by category": data["memory"]["not_compared"],
        "weights by arithmetic": data["expected"]["not_compared"],
        "picture": data["quality"]["psnr"]["why"] if data["quality"]["psnr"]["db"] is None else None,
    }
    return [f"{what}: {why}" for what, why in reasons.items() if why and why != "equal to the bit"]

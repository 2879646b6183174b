"""The time part of `compare` as tables: every table ends in its sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from profiler.metrics.compare_time import group_of
from profiler.report.compare_words import signed
from profiler.report.names import readable, shorten
from profiler.report.render import number, table
from profiler.rundir.summary import describe_repeats

_GAP, _LEAST_NAME = 3, 20
# Below this width the table of classes leaves out what a change is in a whole call.
_WIDE = 96
_SHOWN_MS = 0.0005
_NOT_CALIBRATED = "the untraced time of a run is not known: its idle time is as traced, and may be as low as 0"


def call(comparison: dict[str, Any], width: int) -> str:
    """What was timed, and the windows that the difference comes from."""
    time = comparison["time"]
    if time["base"]["median_ms"] is None or time["new"]["median_ms"] is None:
        return ""
    steps = time["steps"]
    times = str(steps["new"]) if steps["base"] == steps["new"] else f"{steps['base']} and {steps['new']}"
    rows = [(_part(each["name"], times), *_numbers(each, 1)) for each in time["parts"]]
    base, new = time["base"]["median_ms"], time["new"]["median_ms"]
    rows.append((f"a call of {times} steps, as timed", number(base, 1), number(new, 1), signed(time["delta_ms"], 1)))
    lines = [table(("where the time of a call goes", "base ms", "new ms", "change"), rows, width)]
    lines.append("timed: " + "; ".join(f"{name} {_repeats(time[name])}" for name in ("base", "new")))
    if time["break_even_calls"] is not None:
        ready = f"quantizing and the first call take {time['ready_ms'] / 1e3:,.1f} s more"
        lines.append(f"{ready}: earned back after {time['break_even_calls']:,.0f} calls")
    return "\n".join(lines)


def _part(name: str, times: str) -> str:
    return f"{times} x step" if name == "step" else name


def _repeats(timed: dict[str, Any]) -> str:
    return describe_repeats(timed["repeats"], timed["spread_ms"])


def window(comparison: dict[str, Any], name: str, width: int) -> str:
    """One window by group and class: untraced ms of one repeat."""
    chosen = _chosen(comparison, name)
    if chosen is None:
        return ""
    rows: list[tuple[str, ...]] = []
    for group in sorted(chosen["groups"], key=lambda each: -abs(each["delta_ms"])):
        inside = [each for each in chosen["classes"] if group_of(each["kind"], each["label"]) == group["name"]]
        # A group of one class says all of it; what is nothing in both runs is nothing to read.
        status = inside[0]["status"] if len(inside) == 1 else ""
        rows.append((group["name"], *_numbers(group), _per_call(group), status))
        rows += [_class(each) for each in inside if len(inside) > 1 and max(each["base_ms"], each["new_ms"]) >= _SHOWN_MS]
    rows.append((f"a {chosen['name']}", *_numbers(chosen), _per_call(chosen), ""))
    times = chosen["times_a_call"]
    headers = [f"where a {chosen['name']} goes, untraced", "base ms", "new ms", "change", f"x {times}", ""]
    if times in (None, 1) or width < _WIDE:
        headers, rows = [*headers[:4], ""], [(*row[:4], row[5]) for row in rows]
    text = _fitted(headers, rows, width)
    return text if chosen["calibrated"] else f"{text}\n{_NOT_CALIBRATED}"


def _fitted(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """A table whose first column gives way: numbers are never cut. The last column is text."""
    taken = sum(_GAP + max(map(len, column)) for column in zip(headers[1:], *(row[1:] for row in rows), strict=True))
    room = max(_LEAST_NAME, width - taken)
    cut = [(shorten(name, room), *rest) for name, *rest in rows]
    return table((shorten(headers[0], room), *headers[1:]), cut, width, left=(0, len(headers) - 1))


def _class(row: dict[str, Any]) -> tuple[str, ...]:
    return (f"  {row['label']}", *_numbers(row), _per_call(row), row["status"])


def _per_call(row: dict[str, Any]) -> str:
    return "" if row["per_call_ms"] is None else signed(row["per_call_ms"], 1)


def kernels(comparison: dict[str, Any], name: str, top: int, width: int) -> str:
    """The kernels that changed most, by what became of them."""
    chosen = _chosen(comparison, name)
    busy = [each for each in chosen["kernels"] if each["kind"] == "busy"] if chosen else []
    if chosen is None or not busy or not top:
        return ""
    headers = (f"kernels of a {chosen['name']}", "calls", "base ms", "new ms", "change", "")
    rows = [(readable(each["detail"]), _counts(each), *_numbers(each), each["status"]) for each in busy[:top]]
    more = len(busy) - len(rows)
    rest = f"\n{more:,} kernels more (--top N), {signed(sum(each['delta_ms'] for each in busy[top:]))} ms" if more else ""
    return _fitted(headers, rows, width) + rest


def _counts(row: dict[str, Any]) -> str:
    return f"{row['base_count']:,.0f} > {row['new_count']:,.0f}"


def _chosen(comparison: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The window called `name`, else what stands for it: the call of traces without steps."""
    windows = {each["name"]: each for each in comparison["time"]["windows"]}
    return windows.get(name) or windows.get("call")


def _numbers(row: dict[str, Any], decimals: int = 3) -> tuple[str, str, str]:
    return number(row["base_ms"], decimals), number(row["new_ms"], decimals), signed(row["delta_ms"], decimals)

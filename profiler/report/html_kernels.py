"""Busy time by class and kernel in the HTML report, and how far classes stand above their floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiler.core import palette
from profiler.report import html_bars
from profiler.report.html_boxes import Leaf, icicle
from profiler.report.html_data import Gathered
from profiler.report.html_parts import chip, lines, part, section, table
from profiler.report.html_tags import Html, joined, tag
from profiler.report.names import readable, shorten

# Kernels of the table; letters of a kernel's name in it.
_KERNELS, _NAME = 25, 80
_TRACED = {
    "gpu": ("GPU busy time by class and kernel", "Kernels", "everything that the trace holds, as traced"),
    "cpu": ("CPU time by class and operator", "Operators", "self time of the trace's operators: it holds no GPU event"),
}


def _floor(report: Mapping[str, Any] | None) -> Html:
    """Classes of a step above the least that this GPU could need."""
    if report is None or not report["floor"]:
        return joined()
    floor, window = report["floor"], report["window"]
    if floor["ratio"] is None:
        return part("Above its floor", lines([f"no floor: {floor['why'] or 'no kernel of this window has one'}"]))
    whole = sum(each["measured_us"] for each in floor["classes"]) or 1.0
    kept = [each for each in floor["classes"] if each["measured_us"] >= 0.002 * whole]
    bars = [_floor_bar(each) for each in kept]
    note = (
        f"a {window['name']} stands at {floor['ratio']:.2f} × its floor of {floor['floor_us'] / 1e3:,.1f} ms, "
        "the least at this GPU's measured rates; the mark on each bar is the class's floor"
    )
    note = "; ".join([note, *(each["text"] for each in floor["raised"])])
    return part("Above its floor", html_bars.rows(bars, f"ms a {window['name']}", "kernel classes and their floors"), note=note)


def _floor_bar(each: Mapping[str, Any]) -> html_bars.Bar:
    measured, least = each["measured_us"] / 1e3, each["floor_us"] / 1e3
    times = f"{measured / least:.2f} ×" if least and measured / least < 100 else "> 100 ×"
    beside = f"{measured:,.2f} ms, {times}"
    note = f"{each['class']}: {measured:,.3f} ms, floor {least:,.3f} ms" + (
        f", bound by {each['bound']}" if each["bound"] else ""
    )
    return html_bars.Bar(each["class"], measured, palette.of_class(each["class"]), beside, note, mark=least)


def kernels(found: Gathered) -> Html:
    """Busy time of the whole trace by class and kernel: a figure, and both as tables."""
    data = found.show
    if not data["classes"]:
        return joined()
    title, each_one, note = _TRACED[data["trace"]["source"]]
    leaves = [Leaf((each["class"], each["name"]), each["total_us"] / 1e3) for each in data["kernels"]]
    figure = icicle(leaves, "busy", lambda path: palette.of_class(path[0]), lambda value: f"{value:,.2f} ms", _name)
    ranks = f"; rank {data['trace']['rank']} of {data['trace']['ranks']}" if data["trace"]["ranks"] > 1 else ""
    classes = html_bars.rows([_class(each) for each in data["classes"]], "ms, as traced", f"{title}: its classes")
    parts = (figure, part("Classes", classes), part(each_one, _kernels(data)), _floor(found.diagnosis))
    return section("kernels", title, *parts, note=note + ranks)


def _name(name: str) -> str:
    return shorten(readable(name), _NAME)


def _class(each: Mapping[str, Any]) -> html_bars.Bar:
    total_ms = each["total_us"] / 1e3
    beside = f"{total_ms:,.3f} ms, {each['share']:.1%}, {each['count']:,} times"
    return html_bars.Bar(each["class"], total_ms, palette.of_class(each["class"]), beside, f"{each['class']}: {beside}")


def _kernels(data: Mapping[str, Any]) -> Html:
    top, rest = data["kernels"][:_KERNELS], data["kernels"][_KERNELS:]
    rows: list[list[Html | str]] = [
        [
            tag("code", _name(each["name"]), title=each["name"]),
            chip(palette.of_class(each["class"]), each["class"]),
            f"{each['count']:,}",
            f"{each['total_us']:,.1f}",
            f"{each['mean_us']:,.1f}",
            f"{each['share']:.1%}",
        ]
        for each in top
    ]
    if rest:
        counts, total_us = sum(each["count"] for each in rest), sum(each["total_us"] for each in rest)
        share = sum(each["share"] for each in rest)
        rows.append([f"{len(rest)} more (diffuscope show --top N)", "", f"{counts:,}", f"{total_us:,.1f}", "", f"{share:.1%}"])
    return table(("name", "class", "count", "total µs", "mean µs", "share"), rows, (0, 1))

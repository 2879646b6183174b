"""The time of the HTML report: findings, the ledger, the floor, kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profiler.core import palette
from profiler.core.units import format_size
from profiler.report import html_bars
from profiler.report.html_boxes import Leaf, icicle
from profiler.report.html_cards import Sources, of_memory, of_time
from profiler.report.html_data import Gathered
from profiler.report.html_parts import bullets, chip, folded, legend, lines, part, section, share_bar, table
from profiler.report.html_tags import Html, joined, tag
from profiler.report.names import readable, shorten

# Kernels of the table; letters of a kernel's name in it.
_KERNELS, _NAME = 25, 80
# Labels below this share of the window share one segment of the bar.
_LEAST_SHARE = 0.004
_TRACED = {
    "gpu": ("GPU busy time by class and kernel", "Kernels", "everything that the trace holds, as traced"),
    "cpu": ("CPU time by class and operator", "Operators", "self time of the trace's operators: it holds no GPU event"),
}


def findings(found: Gathered) -> Html:
    """The ranked findings, about time and about memory, and what was not checked."""
    report = found.diagnosis
    if report is None:
        return joined()
    numbered = list(enumerate(report["findings"], 1))
    often = [of_time(number, each, found.sources) for number, each in numbered if not each["once"]]
    once = [of_time(number, each, found.sources) for number, each in numbered if each["once"]]
    if report["ledger"] and not often:
        often = [tag("p", f"Nothing was found that costs time in every {report['window']['name']}.")]
    return section(
        "findings",
        "What to change",
        part("Time", *often, note="by what they cost a call; the price of one is in no other"),
        part("Once, not in every call", *once),
        _memory(report["memory"], found.sources),
        _not_checked(report["not_checked"]),
    )


def _memory(memory: Mapping[str, Any], sources: Sources) -> Html:
    cards = [of_memory(number, each, memory["peak_bytes"], sources) for number, each in enumerate(memory["findings"], 1)]
    of = f"shares are of the peak, {format_size(memory['peak_bytes'])}; " if memory["peak_bytes"] else ""
    return part("Memory", *cards, note=f"{of}savings on the same bytes do not add up")


def _not_checked(rules: Sequence[Mapping[str, str]]) -> Html:
    reasons: dict[str, list[str]] = defaultdict(list)
    for each in rules:
        reasons[each["why"]].append(each["rule"])
    return part("Not checked", bullets(f"{why}: {', '.join(names)}" for why, names in reasons.items()))


@dataclass(frozen=True)
class Group:
    """Ledger rows of one label: untraced ms of one repeat, traced ms, and how many kernels or gaps."""

    kind: str
    label: str
    priced_ms: float
    total_ms: float
    count: float


def groups(rows: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Rows of a ledger by label, busy before idle, dearest first. They sum to the window."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in rows:
        found.setdefault((each["kind"], each["label"]), []).append(each)
    made = [_sum(kind, label, of) for (kind, label), of in found.items()]
    return sorted(made, key=lambda each: (each.kind != "busy", -each.priced_ms, each.label))


def _sum(kind: str, label: str, rows: Sequence[Mapping[str, Any]]) -> Group:
    priced, total = sum(each["priced_us"] for each in rows), sum(each["total_us"] for each in rows)
    return Group(kind, label, priced / 1e3, total / 1e3, sum(each["count"] for each in rows))


def shown(every: Sequence[Group]) -> list[Group]:
    """What a bar can show: labels too short to be seen are one, of busy and of idle time."""
    least, found = _LEAST_SHARE * sum(each.priced_ms for each in every), []
    for kind in ("busy", "idle"):
        of = [each for each in every if each.kind == kind and each.priced_ms > 0]
        rest = [each for each in of if each.priced_ms < least]
        found += [each for each in of if each.priced_ms >= least]
        if len(rest) > 1:
            sums = (sum(each.priced_ms for each in rest), sum(each.total_ms for each in rest), sum(each.count for each in rest))
            rest = [Group(kind, f"other, {kind}", *sums)]
        found += rest
    return found


def ledger(found: Gathered) -> Html:
    """Where a step goes: one bar, its legend, every label, and how far it stands above its floor."""
    report = found.diagnosis
    if report is None or not report["ledger"]:
        return joined()
    window, every = report["window"], groups(report["ledger"])
    whole = sum(each.priced_ms for each in every) or 1.0
    segments = [
        html_bars.Segment(each.label, each.priced_ms, _colour(each), _note(each, whole), each.kind == "idle")
        for each in shown(every)
    ]
    bar = html_bars.stacked(segments, f"ms of a {window['name']}", f"where a {window['name']} goes")
    items = ((_colour(each), each.label, f"{each.priced_ms:,.2f} ms · {each.priced_ms / whole:.1%}") for each in shown(every))
    all_rows = folded(f"every label ({len(every)})", _table(every, whole, window["name"]))
    return section("ledger", f"Where a {window['name']} goes", bar, legend(items), all_rows, note=_priced(window))


def _colour(each: Group) -> str:
    return palette.of_row(each.kind, each.label)


def _note(each: Group, whole: float) -> str:
    return f"{each.label} ({each.kind}): {each.priced_ms:,.3f} ms, {each.priced_ms / whole:.1%}, {each.count:,.0f} times"


def _table(every: Sequence[Group], whole: float, window: str) -> Html:
    rows = [
        [
            chip(_colour(each), each.label),
            each.kind,
            f"{each.count:,.0f}",
            f"{each.total_ms:,.3f}",
            f"{each.priced_ms:,.3f}",
            f"{each.priced_ms / whole:.1%}",
            share_bar(each.priced_ms / whole, _colour(each)),
        ]
        for each in every
    ]
    total = sum(each.total_ms for each in every)
    rows.append([f"a {window}", "", "", f"{total:,.3f}", f"{sum(each.priced_ms for each in every):,.3f}", "100.0%", ""])
    return table(("label", "", "count", "traced ms", "untraced ms", "share", ""), rows, (0, 1, 6), sums=True)


def _priced(window: Mapping[str, Any]) -> str:
    if not window["calibrated"]:
        return "no untraced time is known: idle time may be as low as 0 (import --timed-ms N tells it)"
    traced = f"untraced; traced it took {window['dur_us'] / 1e3:,.2f} ms"
    priced = f"{traced}, idle time is priced at {window['factor']:.2f} of what the trace shows"
    return f"{priced}; {window['note']}" if window["note"] else priced


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

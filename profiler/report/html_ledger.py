"""Where a window's time goes in the HTML report: one bar, its legend, every label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profiler.core import palette
from profiler.report import html_bars, html_ranks
from profiler.report.html_data import Gathered
from profiler.report.html_parts import chip, folded, legend, section, share_bar, table
from profiler.report.html_tags import Html, joined

# Labels below this share of the window share one segment of the bar.
_LEAST_SHARE = 0.004


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
    return section(
        "ledger", f"Where a {window['name']} goes", bar, legend(items), all_rows, note=_priced(window) + html_ranks.whose(report)
    )


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

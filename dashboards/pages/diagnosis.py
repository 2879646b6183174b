"""Diagnosis: why is this run slow, and what to change first?"""

from __future__ import annotations

from collections import defaultdict

import streamlit as st

from dashboards import data, moments, navigation, parts
from dashboards.charts import ledger as charts
from dashboards.links import Selection
from profiler.core import palette
from profiler.core.finding import CRITICAL, HIGH
from profiler.metrics.floor import Floor
from profiler.metrics.ledger import Ledger
from profiler.report.diagnose import Report
from profiler.report.diagnose_text import source_lines
from profiler.report.grant import Granted
from profiler.rundir import layout

_COMPILE_RULES = ("graph-break", "recompile", "recompile-limit", "guards", "cudagraph")
_AROUND = 4


def page() -> None:
    """The page."""
    name = navigation.choose_run(data.readable_runs(), navigation.traced)
    if not name:
        return
    found = data.run(name)
    if not found.has(layout.TRACE):
        parts.head("Why is it slow?", f"{name} was not traced.")
        parts.nothing("No trace", _untraced(name), f"diffuscope import TRACE -o {found.path}-traced")
        return
    report = data.report(name)
    _head(report)
    parts.section(f"Where a {report.window} goes", _priced(report))
    parts.plot(charts.bar(report.rows, report.window), "ledger_bar")
    whole = sum(row.priced_ns for row in report.rows) or 1.0
    parts.legend(
        [
            (palette.of_row(each.kind, each.label), each.label, f"{each.priced_ns / 1e6:,.2f} ms · {each.priced_ns / whole:.1%}")
            for each in charts.shown(report.rows)
        ]
    )
    _findings(name, report)
    _not_checked(report)


def _untraced(name: str) -> str:
    failure = data.run(name).manifest.failure
    if failure is None:
        return "This run holds no kernel trace."
    return f"It ended in phase {failure.phase or 'unknown'}: {failure.type}: {failure.message}"


def _head(report: Report) -> None:
    often = [each for each in report.findings if not each.finding.once]
    worst = next((each for each in often if each.severity in (CRITICAL, HIGH)), often[0] if often else None)
    answer = worst.finding.title if worst else f"Nothing was found that costs time in every {report.window}."
    parts.head("Why is it slow, and what to change first?", answer[:1].upper() + answer[1:])
    unit = "untraced" if report.calibrated else "traced"
    figures = [(f"a {report.window}", f"{_window_ns(report) / 1e6:,.2f}", "ms", unit)]
    if report.floor and _ratio(report.floor, report):
        figures.append(("above its floor", f"{_ratio(report.floor, report):.2f}", "×", "the least at this GPU's measured rates"))
    busy = sum(row.priced_ns for row in report.rows if row.kind == charts.BUSY)
    if report.untraced_ns:
        figures.append(("busy", f"{busy / _window_ns(report):.1%}", "", f"of the {report.window}; the rest is idle"))
    if worst:
        low, high = worst.saving_low_ns / 1e6, worst.saving_high_ns / 1e6
        figures.append(("the first change saves", f"{low:,.1f} – {high:,.1f}", "ms", f"a {worst.finding.window}"))
    figures.append(("findings", f"{len(often)}", "", f"and {len(report.findings) - len(often)} once; {_skipped(report)}"))
    parts.figures(figures)


def _skipped(report: Report) -> str:
    count = len(report.not_checked)
    return f"{count} rules not checked" if count else "every rule checked"


def _window_ns(report: Report) -> float:
    return report.untraced_ns if report.calibrated else report.dur_ns


def _ratio(floor: Floor, report: Report) -> float:
    return report.untraced_ns / floor.floor_ns if floor.floor_ns else 0.0


def _priced(report: Report) -> str:
    if report.calibrated:
        return f"traced {report.dur_ns / 1e6:,.2f} ms; idle time is priced at {report.factor:.2f} of what the trace shows"
    return "no untraced time is known: idle time may be as low as 0 (import --timed-ms N tells it)"


def _findings(name: str, report: Report) -> None:
    ledgers = data.ledgers(name)
    chosen = navigation.selection().finding
    often = [(number, each) for number, each in enumerate(report.findings, 1) if not each.finding.once]
    once = [(number, each) for number, each in enumerate(report.findings, 1) if each.finding.once]
    parts.section("Findings", "by what they cost a call; the price of one is in no other")
    for number, each in often:
        _card(name, number, each, ledgers, number == chosen)
    if not often:
        parts.note(f"No rule found anything that costs time in every {report.window}.")
    if once:
        parts.section("Once, not in every call")
    for number, each in once:
        _card(name, number, each, ledgers, number == chosen)


def _card(name: str, number: int, each: Granted, ledgers: dict[str, Ledger], chosen: bool) -> None:
    finding = each.finding
    with st.container(border=True, key=f"finding_{number}"):
        parts.card(
            parts.Card(
                title=f"{number}. {finding.title}",
                tag="selected · " * chosen + ("once" if finding.once else each.severity),
                colour=palette.ACCENT if chosen else palette.of_severity(each.severity),
                price=price(each),
                change=finding.change,
                items=[*finding.evidence, *_elsewhere(each)],
                places=_places(name, each),
            )
        )
        _links(name, number, each, ledgers)


def _places(name: str, each: Granted) -> list[tuple[str, list[str]]]:
    """Distinct places, the source lines under the first of a line."""
    found: dict[tuple[str | None, int | None], list[str]] = defaultdict(list)
    for where in each.finding.where:
        found[where.file, where.line].append(str(where))
    return [
        (f"at {texts[0]}" + (f" and {len(texts) - 1} more modules there" if len(texts) > 1 else ""), _source(name, file, line))
        for (file, line), texts in found.items()
    ]


def price(each: Granted) -> str:
    """What a finding costs, and what changing it saves."""
    window = "once" if each.finding.once else f"a {each.finding.window}"
    if not each.cost_ns and not each.saving_high_ns:
        return f"no price of its own ({each.finding.window})"
    share = "" if each.finding.once else f" ({each.share:.1%})"
    call = "" if each.finding.once else f" · {each.per_call_ns / 1e6:,.1f} ms a call"
    saving = f"{each.saving_low_ns / 1e6:,.2f} to {each.saving_high_ns / 1e6:,.2f} ms"
    return f"costs {each.cost_ns / 1e6:,.2f} ms {window}{share}{call} · saves {saving}"


def _elsewhere(each: Granted) -> list[str]:
    lines = [f"less {cost_ns / 1e6:,.2f} ms that {rule} accounts for" for rule, cost_ns in each.elsewhere_ns.items()]
    return [*lines, f"also seen by {', '.join(each.also)}"] if each.also else lines


def _source(name: str, file: str | None, line: int | None) -> list[str]:
    path = data.run(name).artifact(layout.SOURCES)
    return source_lines(path, file, line, _AROUND) if file and line and path.is_file() else []


def _links(name: str, number: int, each: Granted, ledgers: dict[str, Ledger]) -> None:
    with st.container(horizontal=True, gap="medium"):
        to = Selection(run=name, finding=number)
        if moments.of_finding(each, ledgers):
            navigation.link(navigation.TIMELINE, "Show in the timeline", to, ":material/view_timeline:")
        if each.finding.rule.startswith(_COMPILE_RULES):
            navigation.link(navigation.COMPILE, "Compile page", Selection(run=name), ":material/account_tree:")
        navigation.link(navigation.DIAGNOSIS, "Link to this finding", to, ":material/link:")


def _not_checked(report: Report) -> None:
    if not report.not_checked:
        return
    reasons: dict[str, list[str]] = defaultdict(list)
    for rule, why in report.not_checked:
        reasons[why].append(rule)
    parts.section("Not checked")
    parts.bullets([f"{why}: {', '.join(rules)}" for why, rules in reasons.items()])

"""Diagnosis: why is this run slow, and what to change first?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import streamlit as st

from dashboards import data, findings, navigation, parts
from dashboards.charts import ledger as charts
from dashboards.links import Selection
from profiler.core import palette
from profiler.core.errors import UnreadableInput
from profiler.core.finding import CRITICAL, HIGH
from profiler.core.printable import upper_first
from profiler.core.units import format_size
from profiler.metrics.floor import Floor
from profiler.metrics.windows import CALL, DECODE, STEP, TEXT
from profiler.report.diagnose import Report
from profiler.report.grant import Granted

WINDOWS = (STEP, TEXT, DECODE, CALL)
_COMPILE_RULES = ("graph-break", "recompile", "guards", "cudagraph", "compile-time", "nothing-compiled")
_RANK_RULES = ("straggler", "load-imbalance", "exposed-communication")
_QUESTION = "Why is it slow, and what to change first?"
_SPOKEN = {TEXT: "text encoding", DECODE: "decoding"}


def page() -> None:
    """The page."""
    left, right = st.columns([0.8, 0.2])
    with left:
        name = navigation.choose_run(data.readable_runs(), navigation.traced)
    if not name:
        return
    found = data.run(name)
    with right:
        rank = navigation.choose_rank(found)
    try:
        report = data.report(name, rank=rank)
    except UnreadableInput as error:
        parts.head(_QUESTION, f"{name} cannot be diagnosed.")
        parts.nothing(error.message, _untraced(name) or error.hint, f"diffuscope import TRACE -o {found.path}-traced")
        return
    at = Selection(run=name, rank=rank)
    if report.rows:
        _time(at, report)
    else:
        memory = report.memory.granted
        parts.head(_QUESTION, upper_first(memory[0].finding.title) if memory else f"{name} was not traced.", _untraced(name))
    _memory(at, report)
    _not_checked(report)


def _untraced(name: str) -> str:
    failure = data.run(name).manifest.failure
    return (
        f"No trace: it ended in phase {failure.phase or 'unknown'} with {failure.type}." if failure else "No kernel trace here."
    )


def _time(at: Selection, report: Report) -> None:
    _head(report)
    _ledger(at, report)
    _findings(at, report)


def _ledger(at: Selection, report: Report) -> None:
    """One window as a bar; the step first, the others by a click."""
    shown = report
    parts.section("Where the time goes")
    if report.window == STEP:
        window = st.segmented_control("Window", WINDOWS, default=STEP, key="ledger_window", label_visibility="collapsed") or STEP
        shown = report if window == STEP else data.report(at.run, window=window, rank=at.rank)
        if shown.window != window:
            parts.note(f"the trace marks no {window}: this is the whole call")
    parts.note(f"{_SPOKEN.get(shown.window, f'a {shown.window}')}: {_priced(shown)}")
    parts.plot(charts.bar(shown.rows, shown.window), "ledger_bar")
    whole = sum(row.priced_ns for row in shown.rows) or 1.0
    parts.legend(
        [
            (palette.of_row(each.kind, each.label), each.label, f"{each.priced_ns / 1e6:,.2f} ms · {each.priced_ns / whole:.1%}")
            for each in charts.shown(shown.rows)
        ]
    )


def _head(report: Report) -> None:
    often = [each for each in report.findings if not each.finding.once]
    worst = next((each for each in often if each.severity in (CRITICAL, HIGH)), often[0] if often else None)
    answer = worst.finding.title if worst else f"Nothing was found that costs time in every {report.window}."
    parts.head(_QUESTION, upper_first(answer))
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


def _findings(at: Selection, report: Report) -> None:
    chosen = navigation.selection().finding
    often = [(number, each) for number, each in enumerate(report.findings, 1) if not each.finding.once]
    once = [(number, each) for number, each in enumerate(report.findings, 1) if each.finding.once]
    parts.section("Findings", "by what they cost a call; the price of one is in no other")
    for number, each in often:
        _card(at, number, each, number == chosen)
    if not often:
        parts.note(f"No rule found anything that costs time in every {report.window}.")
    if once:
        parts.section("Once, not in every call")
    for number, each in once:
        _card(at, number, each, number == chosen)


def _card(at: Selection, number: int, each: Granted, chosen: bool) -> None:
    with st.container(border=True, key=f"finding_{number}"):
        parts.card(findings.of_time(number, each, data.source_of(at.run, at.rank), chosen))
        _links(at, number, each)


def _memory(at: Selection, report: Report) -> None:
    if not report.memory.granted:
        return
    whole = report.memory.whole_bytes
    parts.section("Memory", f"shares are of the peak, {format_size(whole)}" if whole else "")
    for number, each in enumerate(report.memory.granted, 1):
        with st.container(border=True, key=f"memory_{number}"):
            parts.card(findings.of_memory(number, each, whole, data.source_of(at.run, at.rank)))
    navigation.link(navigation.MEMORY, "Where every byte is", at, ":material/memory:")


def _links(at: Selection, number: int, each: Granted) -> None:
    with st.container(horizontal=True, gap="medium"):
        to = replace(at, finding=number)
        # Where in the trace is looked up by the page that shows it: it takes as long as the diagnosis.
        if each.rows or not each.finding.once:
            navigation.link(navigation.TIMELINE, "Show in the timeline", to, ":material/view_timeline:")
        if each.finding.rule.startswith(_COMPILE_RULES):
            navigation.link(navigation.COMPILE, "Compile page", at, ":material/account_tree:")
        if each.finding.rule in _RANK_RULES:
            navigation.link(navigation.RANKS, "Ranks page", at, ":material/hub:")
        navigation.link(navigation.DIAGNOSIS, "Link to this finding", to, ":material/link:")


def _not_checked(report: Report) -> None:
    if not report.not_checked:
        return
    reasons: dict[str, list[str]] = defaultdict(list)
    for rule, why in report.not_checked:
        reasons[why].append(rule)
    parts.section("Not checked")
    parts.bullets([f"{why}: {', '.join(rules)}" for why, rules in reasons.items()])

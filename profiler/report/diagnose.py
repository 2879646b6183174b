"""The diagnosis of a run: its ledger, findings with prices, what was not checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from profiler.core.errors import DiffuscopeError
from profiler.core.finding import Finding
from profiler.metrics.compile_join import check_same_program
from profiler.metrics.floor import Floor, floor
from profiler.metrics.ledger import Ledger
from profiler.report import floor as floor_report
from profiler.report import memory_findings, several_ranks
from profiler.report.grant import Granted, grant
from profiler.report.memory_findings import MemoryFindings
from profiler.report.several_ranks import RanksReport
from profiler.rules.base import RULES, TRACE, missing
from profiler.rules.context import Context, Row
from profiler.tables.run import Run

# Whatever a rule raises on a run that it did not foresee, it is named and the others still come. Polars panics are no Exception.
_DEFECTS = (Exception, pl.exceptions.PanicException)


@dataclass
class Report:
    """One run's diagnosis. Times in ns; the ledger is of one repeat of `window`, the first of which starts at `start_ns`."""

    run: Run
    window: str
    start_ns: int = 0
    dur_ns: float = 0.0
    untraced_ns: float = 0.0
    repeats: float = 1.0
    calibrated: bool = False
    factor: float = 1.0
    note: str = ""
    rows: list[Row] = field(default_factory=list)
    findings: list[Granted] = field(default_factory=list)
    not_checked: list[tuple[str, str]] = field(default_factory=list)
    floor: Floor | None = None
    memory: MemoryFindings = field(default_factory=MemoryFindings)
    ranks: RanksReport | None = None
    rank: int = 0


def diagnose(run: Run, base: Run | None = None, window: str = "step", rank: int | None = None) -> Report:
    """Run every rule and grant each ledger row to one finding. Without a trace a run still has its memory diagnosed.

    Args:
        rank: whose ledger; by default that of the median rank: what it waits for a slower one is in it.

    Raises:
        UnreadableInput: the run holds no trace that can be read and nothing about memory, or its trace and compile log are of two
            programs.
    """
    context = Context(run, base, several_ranks.rank_of(run) if rank is None else rank)
    if not context.has(TRACE) and memory_findings.can_tell(run, context.rank):
        return _without_trace(context, window)
    ledger = context.ledger(window)
    check_same_program(run, context.rank)
    found, not_checked = _check_all(context)
    findings = [each for each in found if not each[1].memory]
    # What happens once is no share of its window, and claims nothing of it.
    names = {each.window for _, each in findings if each.claims or not each.once} | {ledger.window}
    prices = {name: {row.id: (row.priced_ns, row.priced_low_ns) for row in context.rows(name)} for name in names}
    windows = {name: (context.duration_ns(name), context.repeats(name)) for name in names}
    rows = context.rows(ledger.window)
    return Report(
        run=run,
        window=ledger.window,
        start_ns=next(iter(ledger.windows["start_ns"].sort()), 0),
        dur_ns=sum(row.total_ns for row in rows),
        untraced_ns=context.duration_ns(ledger.window),
        repeats=context.repeats(ledger.window),
        calibrated=ledger.pricing.calibrated,
        factor=ledger.pricing.factor,
        note=ledger.pricing.note,
        rows=rows,
        findings=grant(findings, prices, windows, context.call_ns, context.noise),
        not_checked=not_checked,
        floor=_floor(context, ledger, not_checked),
        memory=memory_findings.of_memory(run, context.rank, found),
        ranks=several_ranks.of_context(context, ledger.window),
        rank=context.rank,
    )


def _without_trace(context: Context, window: str) -> Report:
    """What can be said of a run that has no time: its memory."""
    found, not_checked = _check_all(context)
    memory = memory_findings.of_memory(context.run, context.rank, found)
    return Report(run=context.run, window=window, not_checked=not_checked, memory=memory, rank=context.rank)


def _floor(context: Context, of: Ledger, not_checked: list[tuple[str, str]]) -> Floor | None:
    try:
        return floor(context.run, of, context.rank)
    except _DEFECTS as error:
        not_checked.append(("floor", f"it failed: {type(error).__name__}: {error}"))
        return None


def _check_all(context: Context) -> tuple[list[tuple[int, Finding]], list[tuple[str, str]]]:
    findings: list[tuple[int, Finding]] = []
    not_checked: list[tuple[str, str]] = []
    for rule in RULES.values():
        try:
            why = missing(rule, context)
            if why:
                not_checked.append((rule.name, why))
                continue
            findings += [(rule.priority, _in_its_window(context, each)) for each in rule.check(context)]
        except _DEFECTS as error:
            not_checked.append((rule.name, _why(error)))
    return findings, not_checked


def _in_its_window(context: Context, finding: Finding) -> Finding:
    """One window has one name: the same rows under two would be granted twice."""
    if finding.memory:
        return finding
    return replace(finding, window=context.ledger(finding.window).window)


def _why(error: BaseException) -> str:
    if isinstance(error, DiffuscopeError):
        return error.message
    text = str(error).strip().partition("\n")[0]
    return f"the rule failed: {type(error).__name__}{': ' * bool(text)}{text}"


def to_json(report: Report) -> dict[str, Any]:
    """The stable JSON form: times in microseconds, costs a repeat of the finding's window."""
    return {
        "run": str(report.run.path),
        "window": {
            "name": report.window,
            "start_us": report.start_ns / 1e3,
            "dur_us": report.dur_ns / 1e3,
            "repeats": report.repeats,
            "untraced_us": report.untraced_ns / 1e3,
            "calibrated": report.calibrated,
            "factor": report.factor,
            "note": report.note,
        },
        "floor": floor_report.to_json(report.floor, report.untraced_ns) if report.floor else None,
        "ledger": [_row(row, report.dur_ns) for row in report.rows],
        "findings": [_finding(each) for each in report.findings],
        "memory": memory_findings.to_json(report.memory),
        "not_checked": [{"rule": rule, "why": why} for rule, why in report.not_checked],
        **(several_ranks.to_json(report.ranks) if report.ranks else {}),
    }


def _row(row: Row, dur_ns: float) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "label": row.label,
        "detail": row.detail,
        "count": row.count,
        "total_us": row.total_ns / 1e3,
        "priced_us": row.priced_ns / 1e3,
        "share": row.total_ns / dur_ns if dur_ns else 0.0,
    }


def _finding(granted: Granted) -> dict[str, Any]:
    finding = granted.finding
    return {
        "rule": finding.rule,
        "title": finding.title,
        "severity": granted.severity,
        "window": finding.window,
        "once": finding.once,
        "where": [each.to_dict() for each in finding.where],
        "count": finding.count,
        "cost_us": granted.cost_ns / 1e3,
        "share": granted.share,
        "saving_us": {"low": granted.saving_low_ns / 1e3, "high": granted.saving_high_ns / 1e3},
        "per_call_us": granted.per_call_ns / 1e3,
        "rows": granted.rows,
        "evidence": list(finding.evidence),
        "also": granted.also,
        "change": finding.change,
        "doc": finding.doc,
    }

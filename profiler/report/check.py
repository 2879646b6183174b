"""A run held against a budget, as plain data. The keys are stable: `docs/check.md` lists them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from profiler.core.errors import DiffuscopeError
from profiler.metrics.compare_runs import refuse_other_kinds
from profiler.report import budget_ranks
from profiler.report.budget import Budget, Limit
from profiler.report.budget_lines import LINES
from profiler.report.budget_measure import Line, Measured, Subject
from profiler.tables.run import Run

PASS, FAIL, NOT_CHECKED = "pass", "fail", "not checked"
STATUS = "status"
"""The line that every check has: a run that did not end ok keeps no budget."""

# Whatever a metric raises on a run that it did not foresee is one line's; the others still come. Polars panics are no Exception.
_DEFECTS = (Exception, pl.exceptions.PanicException)


def check_data(run: Run, budget: Budget, base: Run | None = None) -> dict[str, Any]:
    """Everything `check` prints, JSON-ready. Numbers are in the line's unit; what is not known, or is no number, is None.

    Args:
        base: the run that ratios and quality are held against; the one that the budget names is the caller's to open.

    Raises:
        UsageError: a sweep or a tuning, which keeps no budget.
    """
    refuse_other_kinds(run)
    subjects = budget_ranks.subjects(run, base)
    checks = [_status(run), *(_check(subjects, each) for each in budget.limits)]
    return {
        "run": str(run.path),
        "budget": str(budget.path),
        "base": str(base.path) if base else None,
        "passed": all(each["ok"] for each in checks),
        "counts": {name.replace(" ", "_"): _count(checks, name) for name in (PASS, FAIL, NOT_CHECKED)},
        "checks": checks,
    }


def _count(checks: Sequence[dict[str, Any]], status: str) -> int:
    return sum(each["status"] == status for each in checks)


def _status(run: Run) -> dict[str, Any]:
    ended, failure = run.manifest.status, run.manifest.failure
    if ended == "ok":
        return _row(STATUS, "run", "the run ended ok", "", PASS)
    where = f" in phase {failure.phase}" if failure and failure.phase else ""
    return _row(STATUS, "run", "the run ended ok", "", FAIL, note=f"no, {ended}{where}")


def _check(subjects: list[Subject], limit: Limit) -> dict[str, Any]:
    line = LINES[limit.name]
    measured = budget_ranks.worst(line, subjects, _measure)
    status, note = _judge(line, measured, limit.limit)
    value = measured.value
    known = value is not None and math.isfinite(value)
    return _row(
        limit.name,
        line.about,
        line.title,
        line.unit,
        status,
        note=note,
        optional=limit.optional,
        measured=value if known else None,
        limit=limit.limit,
        relation=">=" if line.least else "<=",
        margin=_margin(line, value or 0.0, limit.limit) if known else None,
    )


def _measure(line: Line, subject: Subject) -> Measured:
    try:
        return line.measure(subject)
    except DiffuscopeError as error:
        return Measured(None, error.message)
    except _DEFECTS as error:
        return Measured(None, f"it failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")


def _judge(line: Line, measured: Measured, limit: float) -> tuple[str, str]:
    """The status of a line, and what to say of it."""
    if measured.value is None or math.isnan(measured.value):
        return NOT_CHECKED, measured.note
    if _margin(line, measured.value, limit) < 0:
        return FAIL, measured.note
    if measured.at_least:
        return NOT_CHECKED, f"it is {'an upper' if line.least else 'a lower'} bound: {measured.at_least}"
    return PASS, measured.note


def _margin(line: Line, value: float, limit: float) -> float:
    """What is left until the limit; negative where it is broken."""
    return value - limit if line.least else limit - value


def _row(name: str, about: str, title: str, unit: str, status: str, **more: Any) -> dict[str, Any]:
    optional = more.pop("optional", False)
    made = {"measured": None, "relation": None, "limit": None, "margin": None, "note": ""} | more
    ok = status == PASS or (status == NOT_CHECKED and optional)
    identity = {"name": name, "about": about, "title": title, "unit": unit}
    return identity | {"status": status, "ok": ok, "optional": optional} | made

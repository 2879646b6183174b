"""Lines of a budget about several ranks: what a step loses to the others, and what more ranks bring."""

from __future__ import annotations

from profiler.metrics.classes import COMMUNICATION
from profiler.metrics.ledger_segments import WAITING_FOR_RANK
from profiler.metrics.ranks import rank_summary
from profiler.metrics.windows import STEP
from profiler.report.budget_measure import Measured, Subject
from profiler.report.budget_time import NO_BASE, of_window, ratio
from profiler.tables.ranks import is_spread, rank_count
from profiler.tables.run import Run

_ALONE = "the run is of one process"


def exposed(subject: Subject) -> Measured:
    """The share of a step in communication that no computation hides."""
    return _share(subject, COMMUNICATION)


def waiting(subject: Subject) -> Measured:
    """The share of a step that a rank waits for a slower one."""
    return _share(subject, WAITING_FOR_RANK)


def efficiency(subject: Subject) -> Measured:
    """How many times as fast as the base a call is, over how many times as many ranks it takes: 1 is linear."""
    if subject.base is None:
        return Measured(None, NO_BASE)
    counts = rank_count(subject.base), rank_count(subject.run)
    if counts[0] >= counts[1]:
        return Measured(None, f"the base has {counts[0]} rank{'s' * (counts[0] > 1)}, the run {counts[1]}")
    found = ratio(subject)
    if not found.value:
        return found
    # A rank that is slower than what is known makes the speed-up smaller.
    return Measured(counts[0] / counts[1] / found.value, found.note, found.at_least)


def _silent(run: Run) -> list[str]:
    """The ranks that others may have waited for, and nobody can tell."""
    ranks = rank_summary(run).ranks
    unknown = ranks.filter(ranks["step_us"].is_not_null() & ranks["clock_error_us"].is_null())["rank"]
    return [each for each in ranks["problem"] if each] + [f"no clock of rank {rank} is known" for rank in unknown]


def _share(subject: Subject, label: str) -> Measured:
    if not is_spread(subject.run):
        return Measured(None, _ALONE)
    if silent := _silent(subject.run):
        return Measured(None, f"waiting is told from communication by the traces of all ranks, and {'; '.join(silent)}")
    total = subject.context.duration_ns(STEP)
    if not total:
        return Measured(None, "the trace holds no time")
    rows = subject.context.select(STEP, lambda row: row.label == label)
    return Measured(sum(row.priced_ns for row in rows) / total, of_window(subject.context.ledger(STEP)))

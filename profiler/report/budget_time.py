"""Lines of a budget about time: calls, the ledger of a step, its floor."""

from __future__ import annotations

from profiler.metrics.compare_calls import compare_calls
from profiler.metrics.compare_runs import CALL_TIME, obstacles, unknown
from profiler.metrics.floor import floor
from profiler.metrics.idle import UNEXPLAINED
from profiler.metrics.ledger import Ledger
from profiler.metrics.main_rank import slowest_calls
from profiler.metrics.phases import timed
from profiler.metrics.windows import STEP
from profiler.report.budget_measure import Measured, Subject
from profiler.report.compare_words import listed
from profiler.report.floor import to_json
from profiler.rundir.summary import describe_repeats
from profiler.tables.ranks import is_spread, manifest_of, rank_count, rank_facts
from profiler.tables.run import Run

_NO_GPU = "nothing ran on a GPU"
NO_BASE = "no base run (--base RUN, or base = in the budget)"


def call(subject: Subject) -> Measured:
    """The median of the timed calls, in ms."""
    found = timed(slowest_calls(subject.run))
    if found.median_ms is None:
        return Measured(None, "the run has no timed calls")
    steps = subject.run.manifest.timed.get("steps")
    said = f"{describe_repeats(found.repeats, found.spread_ms)}, {steps} steps"
    return Measured(found.median_ms, said + _slowest(subject.run), _unheard(subject.run))


def _slowest(run: Run) -> str:
    return ", each as long as on its slowest rank" if is_spread(run) else ""


def _unheard(*runs: Run) -> str:
    """Ranks that say nothing of their calls: they may have been slower."""
    silent = [
        str(each.rank)
        for run in runs
        for each in (rank_facts(run) if is_spread(run) else [])
        if not manifest_of(run, each.rank).timed.get("iterations_ns")
    ]
    return f"rank {', '.join(silent)} does not say how long its calls took" if silent else ""


def ratio(subject: Subject) -> Measured:
    """The median of the timed calls over the base's."""
    if subject.base is None:
        return Measured(None, NO_BASE)
    differ = obstacles(subject.run, subject.base, CALL_TIME)
    if differ:
        return Measured(None, f"the runs cannot be compared: {listed(differ)}")
    found = compare_calls(slowest_calls(subject.run), slowest_calls(subject.base), {})
    if found.speedup is None:
        missing = subject.base if found.base.median_ms is None else subject.run
        return Measured(None, f"{missing.path} has no timed calls")
    notes = ["no more than the calls of one run differ"] if found.within_spread else []
    counts = rank_count(subject.run), rank_count(subject.base)
    unsaid = unknown(subject.run, subject.base)
    notes += [f"not known to be the same: {', '.join(unsaid)}"] if unsaid else []
    notes += [f"{counts[0]} ranks, the base {counts[1]}"] if len(set(counts)) > 1 else []
    return Measured(1 / found.speedup, "; ".join(notes), _unheard(subject.run))


def floor_ratio(subject: Subject) -> Measured:
    """Untraced time of a step over the least that this GPU could need."""
    of = subject.context.ledger(STEP)
    found = to_json(floor(subject.run, of, subject.rank), subject.context.duration_ns(STEP))
    if found["ratio"] is None:
        return Measured(None, f"no floor: {found['why'] or 'no kernel has one'}")
    return Measured(found["ratio"], of_window(of))


def unexplained(subject: Subject) -> Measured:
    """The share of a step's time that no cause explains."""
    of = subject.context.ledger(STEP)
    if of.source != "gpu":
        return Measured(None, f"{_NO_GPU}: between a CPU's operators all time is Python's")
    total = subject.context.duration_ns(STEP)
    if not total:
        return Measured(None, "the trace holds no time to explain")
    rows = subject.context.select(STEP, lambda row: row.label == UNEXPLAINED)
    return Measured(sum(row.priced_ns for row in rows) / total, of_window(of), _lost_of_trace(subject))


def host_syncs(subject: Subject) -> Measured:
    """The most waits for the GPU that began in one traced step."""
    of = subject.context.ledger(STEP)
    if of.source != "gpu":
        return Measured(None, _NO_GPU)
    if of.window != STEP:
        return Measured(None, "the trace has no steps")
    inside = of.waits.drop_nulls("index")
    counts = inside.group_by("index").len()["len"]
    sites = inside.group_by("detail").len().sort("len", "detail", descending=[True, False])["detail"].head(3)
    most = counts.max()
    return Measured(float(most) if isinstance(most, int) else 0.0, ", ".join(sites), _lost_of_trace(subject))


def of_window(of: Ledger) -> str:
    """What the number is of, where that is not an untraced step."""
    notes = [] if of.window == STEP else [f"of the whole {of.window}: the trace has no steps"]
    notes += [] if of.pricing.calibrated else ["as traced: no untraced time is known"]
    return "; ".join(notes)


def _lost_of_trace(subject: Subject) -> str:
    lost = subject.run.trace(subject.context.rank).lost
    return "events of the trace are lost: " + ", ".join(f"{why} ({count})" for why, count in lost.items()) if lost else ""

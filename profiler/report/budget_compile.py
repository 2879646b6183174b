"""Lines of a budget about compiling: graph breaks and recompiles of the program that the run is of."""

from __future__ import annotations

import polars as pl

from profiler.metrics.compile_join import has_log
from profiler.metrics.compiles import compiles
from profiler.metrics.graph_breaks import graph_breaks
from profiler.metrics.recompiles import recompiles
from profiler.metrics.windows import STEP, windows
from profiler.report.budget_measure import Measured, Subject
from profiler.rundir import layout

_NOTHING = "nothing was compiled"
_COUNTED = ("graphs", "graph_breaks", "recompiles")
# Names shown of what was found.
_NAMED = 3


def breaks(subject: Subject) -> Measured:
    """Distinct graph breaks, as `diagnose` lists them."""
    without = _without_log(subject)
    if without:
        return _resumed(subject) or without
    found = _own(subject, graph_breaks(subject.run, subject.rank), pl.col("joined"))
    return Measured(float(found.height), _named(found["break"]), _lost(subject))


def all_recompiles(subject: Subject) -> Measured:
    """Recompiles of the whole run, those of the first call included."""
    without = _without_log(subject)
    if without:
        return without
    found = _own(subject, recompiles(subject.run, subject.rank), pl.col("joined") | (pl.col("when") == "inside"))
    return Measured(float(found.height), _named(found["guard"]), _lost(subject))


def recompiles_in_steps(subject: Subject) -> Measured:
    """Recompiles that began in a traced step."""
    without = _without_log(subject)
    if without:
        return without
    base_ns = subject.run.trace(subject.rank).base_ns
    steps = windows(subject.run, subject.rank).filter(pl.col("name") == STEP)
    if steps.is_empty():
        return Measured(None, "the trace has no steps")
    ranges = steps.select(pl.col("host_start_ns", "host_end_ns") + base_ns).rows()
    began = pl.any_horizontal(pl.col("start_ns").is_between(start, end, closed="left") for start, end in ranges)
    every = recompiles(subject.run, subject.rank)
    found, untimed = every.filter(began), every["start_ns"].null_count()
    lost = _lost(subject) or ("the log does not say when every recompile began" if untimed else "")
    return Measured(float(found.height), _named(found["guard"]), lost)


def _without_log(subject: Subject) -> Measured | None:
    """What is known without a compile log: torch leaves none where nothing was compiled."""
    if has_log(subject.run, subject.rank):
        return None
    applied = subject.run.manifest.applied
    if all(applied.get(name) == 0 for name in _COUNTED):
        return Measured(0.0, _NOTHING)
    return Measured(None, "no compile log")


def _resumed(subject: Subject) -> Measured | None:
    """Without a log, the breaks at which the trace resumes; None where it shows none."""
    found = graph_breaks(subject.run, subject.rank) if subject.run.has(layout.TRACE, subject.rank) else pl.DataFrame()
    if found.is_empty():
        return None
    why = "without a compile log only breaks at which the trace resumes are known"
    return Measured(float(found.height), _named(found["break"]), why)


def _own(subject: Subject, found: pl.DataFrame, own: pl.Expr) -> pl.DataFrame:
    """Those of the program in the trace: a log may also hold what `explain` compiled alone.

    Where the trace runs nothing of the log (what was compiled runs eagerly after all), everything in it counts.
    """
    ran = subject.run.has(layout.TRACE, subject.rank) and (compiles(subject.run, subject.rank)["calls"] > 0).any()
    return found.filter(own) if ran else found


def _named(names: pl.Series) -> str:
    distinct = names.drop_nulls().unique(maintain_order=True).to_list()
    return "; ".join(distinct[:_NAMED]) + (f" and {len(distinct) - _NAMED} more" if len(distinct) > _NAMED else "")


def _lost(subject: Subject) -> str:
    """Why there may be more."""
    lost = subject.run.compile_log(subject.rank).lost
    return "records of the compile log are lost: " + ", ".join(f"{why} ({count})" for why, count in lost.items()) if lost else ""

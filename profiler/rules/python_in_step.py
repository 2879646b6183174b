"""One long stretch of Python inside a step in which nothing is launched: a callback, a slow scheduler, a sleep."""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl

from profiler.core.finding import Finding, Place, Saving
from profiler.metrics.host_states import AFTER_PAUSE, PYTHON_BETWEEN
from profiler.rules.base import RULES, TRACE, Rule
from profiler.rules.context import STEP, Context, Row
from profiler.rundir import layout

# Shorter than this is what any eager code between operators takes; a smaller share is not worth a finding.
_LEAST_NS, _LEAST_SHARE = 1_000_000, 0.02
_PYTHON = f"idle/{PYTHON_BETWEEN}"
_FRAME = re.compile(r"(?P<file>.+\.py)\((?P<line>\d+)\): (?P<function>.+)")
_LIBRARY = re.compile(r"(^|/)(torch|diffusers|transformers|accelerate|tqdm|contextlib|functools|threading)[/.]|^<")


def check(context: Context) -> Iterable[Finding]:
    """Rows of Python between operators that are one long stretch each time, not many short ones."""
    ledger = context.ledger(STEP)
    if ledger.window != STEP:
        return
    steps = ledger.windows.height
    long = _long(ledger.segments)
    # On a CPU, whatever else the machine does looks like Python that takes long. What the program does comes in another step too.
    if ledger.source == "cpu" and _held(long) < min(2, steps):
        return
    long_ns = _summed(long)
    rows_of_python = context.select(STEP, lambda row: row.label == PYTHON_BETWEEN and _mostly(row, long_ns, steps))
    # What the pause took of the host's lead shows after it.
    rows = [*rows_of_python, *context.select(STEP, lambda row: row.label == AFTER_PAUSE)]
    cost = sum(row.priced_ns for row in rows)
    if not rows or cost < _LEAST_SHARE * context.duration_ns(STEP):
        return
    traced = sum(row.total_ns for row in rows)
    yield Finding(
        rule=RULE.name,
        title=f"Python holds a step up for {cost / 1e6:.1f} ms in one place",
        window=STEP,
        claims=tuple(row.id for row in rows),
        saving=Saving(share_low=0.8, share_high=1.15),
        where=longest_pause(context),
        evidence=(f"{traced / 1e6:.2f} ms a step as traced in which nothing is launched",),
        change="make the callback or scheduler work in the loop smaller, move it after the loop, or into a thread of its own",
    )


def _long(segments: pl.DataFrame) -> pl.DataFrame:
    """The long stretches: id, index (of the step), ns."""
    took = (pl.col("end_ns") - pl.col("start_ns")).alias("ns")
    return segments.select("id", "index", took).filter(pl.col("ns") >= _LEAST_NS)


def _held(long: pl.DataFrame) -> int:
    """How many steps have a long stretch of Python."""
    return long.filter(pl.col("id").str.starts_with(_PYTHON))["index"].n_unique()


def _summed(long: pl.DataFrame) -> dict[str, int]:
    """Time of the long stretches by row id, in all steps together."""
    return dict(long.group_by("id").agg(pl.col("ns").sum()).iter_rows())


def _mostly(row: Row, long_ns: dict[str, int], steps: int) -> bool:
    return long_ns.get(row.id, 0) > 0.5 * row.total_ns * max(1, steps)


def longest_pause(context: Context) -> tuple[Place, ...]:
    """The longest frame of user code that runs no operator, by the trace with stacks."""
    if not context.run.has(layout.PLACES, context.rank):
        return ()
    trace = context.run.trace(context.rank, layout.PLACES)
    operators = trace.lazy("host").filter(pl.col("cat") == "cpu_op").select("tid", pl.col("ts_ns").alias("next_ns")).collect()
    long = pl.col("dur_ns") >= _LEAST_NS
    frames = trace.lazy("python").filter(long).select("tid", "ts_ns", "dur_ns", "name").collect().sort("ts_ns")
    following = frames.join_asof(
        operators.sort("next_ns"), left_on="ts_ns", right_on="next_ns", by="tid", strategy="forward", check_sortedness=False
    )
    idle = following.filter(pl.col("next_ns").is_null() | (pl.col("next_ns") >= pl.col("ts_ns") + pl.col("dur_ns")))
    for name in idle.sort("dur_ns", descending=True)["name"]:
        match = _FRAME.fullmatch(name)
        if match and not _LIBRARY.search(match["file"]):
            return (Place(match["file"], int(match["line"]), None, match["function"]),)
    return ()


RULE = RULES.add(
    "python-in-step", Rule(name="python-in-step", summary="long Python inside a step", check=check, needs=(TRACE,), priority=12)
)

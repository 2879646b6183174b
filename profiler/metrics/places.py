"""Where in the source an operator is called from, by the trace with Python stacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from profiler.core.finding import Place
from profiler.metrics.window_pattern import REGION
from profiler.metrics.windows import STEP
from profiler.rundir import layout
from profiler.tables.run import Run
from profiler.tables.trace import TraceTables

_FRAME = re.compile(r"(?P<file>.+\.py)\((?P<line>\d+)\): (?P<function>.+)")
_MODULE = "nn.Module: "
# Frames that call an operator for somebody else.
_LIBRARY = re.compile(r"(^|/)(torch|torchao|accelerate|contextlib|functools|threading|typing)[/.]|^<|torchinductor/")


@dataclass(frozen=True)
class Caller:
    """A place that calls an operator, how often, and the modules it runs in, outermost first."""

    operator: str
    place: Place
    modules: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Calls:
    """Which calls are meant.

    Args:
        names: operators or runtime calls.
        window: only inside our marks of this window; a trace without any is searched whole.
        waiting: only those in which the host waits for the GPU.
        eager: only those outside compiled regions.
    """

    names: frozenset[str]
    window: str = ""
    waiting: bool = False
    eager: bool = False


def callers(run: Run, calls: Calls, rank: int = 0) -> list[Caller]:
    """The innermost frames of user code around each of some calls, most frequent first.

    Read from the trace with stacks; from the priced trace where that has stacks itself (foreign traces). Empty without.
    """
    for artifact in (layout.PLACES, layout.TRACE):
        if run.has(artifact, rank):
            trace = run.trace(rank, artifact)
            if trace.events.get("python"):
                return _callers(trace, calls)
    return []


def _callers(trace: TraceTables, calls: Calls) -> list[Caller]:
    counts: Counter[tuple[str, Place, tuple[str, ...]]] = Counter()
    for operator, stack in _stacks(trace, _wanted(trace, calls)):
        place = _place(stack)
        if place is not None:
            counts[operator, place, _modules(stack)] += 1
    return [Caller(name, place, modules, count) for (name, place, modules), count in counts.most_common()]


def _wanted(trace: TraceTables, calls: Calls) -> pl.DataFrame:
    """The calls that are meant: tid, ts_ns, dur_ns, name."""
    named = pl.col("name").is_in(list(calls.names))
    found = pl.concat([_spans(trace, table, named) for table in ("host", "runtime")]).sort("ts_ns")
    if calls.window:
        mark = {STEP: layout.MARK_STEP}.get(calls.window, layout.MARK_PREFIX + calls.window)
        marks = _spans(trace, "host", pl.col("name").str.starts_with(layout.MARK_PREFIX))
        found = found if marks.is_empty() else _inside(found, marks.filter(pl.col("name").str.starts_with(mark)))
    if calls.waiting:
        waits = _spans(trace, "runtime", pl.col("name").str.ends_with("Synchronize")).sort("ts_ns")
        first = found.join_asof(waits, on="ts_ns", by="tid", strategy="forward", coalesce=False, check_sortedness=False)
        found = found.filter((first["ts_ns_right"] < first["ts_ns"] + first["dur_ns"]).fill_null(False))
    if calls.eager:
        regions = _spans(trace, "host", pl.col("name").str.starts_with(REGION))
        found = found.join(_inside(found, regions), on=found.columns, how="anti", maintain_order="left")
    return found


def _spans(trace: TraceTables, table: str, which: pl.Expr) -> pl.DataFrame:
    return trace.lazy(table).filter(which).select("tid", "ts_ns", "dur_ns", "name").collect()


def _inside(calls: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Calls that start inside a span of their thread; both sorted here, spans may nest."""
    ends = spans.sort("ts_ns").select("tid", "ts_ns", (pl.col("ts_ns") + pl.col("dur_ns")).cum_max().over("tid").alias("end_ns"))
    held = calls.join_asof(ends, on="ts_ns", by="tid", strategy="backward", check_sortedness=False)
    return calls.filter((held["ts_ns"] < held["end_ns"]).fill_null(False))


def _stacks(trace: TraceTables, found: pl.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Each wanted call with the names of the Python frames around it, outermost first."""
    wanted = found.with_columns(pl.lit(True).alias("call"))
    if wanted.is_empty():
        return
    threads = wanted["tid"].unique().to_list()
    frames = trace.lazy("python").filter(pl.col("tid").is_in(threads)).select("tid", "ts_ns", "dur_ns", "name").collect()
    spans = pl.concat([frames.with_columns(pl.lit(False).alias("call")), wanted])
    spans = spans.sort(["tid", "ts_ns", "dur_ns", "call"], descending=[False, False, True, False])
    stack: list[tuple[int, int, str]] = []
    for tid, start, dur, name, call in spans.iter_rows():
        while stack and (stack[-1][0] != tid or stack[-1][1] <= start):
            stack.pop()
        if call:
            yield name, [frame for _, _, frame in stack]
        else:
            stack.append((tid, start + dur, name))


def _place(stack: list[str]) -> Place | None:
    for name in reversed(stack):
        match = _FRAME.fullmatch(name)
        if match and not _LIBRARY.search(match["file"]):
            return Place(match["file"], int(match["line"]), None, match["function"])
    return None


def _modules(stack: list[str]) -> tuple[str, ...]:
    return tuple(name.removeprefix(_MODULE) for name in stack if name.startswith(_MODULE))

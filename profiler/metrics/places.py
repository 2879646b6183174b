"""Where in the source an operator is called from, by the trace with Python stacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from profiler.core.finding import Place
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


def callers(run: Run, operators: set[str], rank: int = 0) -> list[Caller]:
    """The innermost frames of user code around each call of some operators or runtime calls, most frequent first.

    Read from the trace with stacks; from the priced trace where that has stacks itself (foreign traces). Empty without.
    """
    for artifact in (layout.PLACES, layout.TRACE):
        if run.has(artifact, rank):
            trace = run.trace(rank, artifact)
            if trace.events.get("python"):
                return _callers(trace, operators)
    return []


def _callers(trace: TraceTables, operators: set[str]) -> list[Caller]:
    counts: Counter[tuple[str, Place, tuple[str, ...]]] = Counter()
    for operator, stack in _stacks(trace, operators):
        place = _place(stack)
        if place is not None:
            counts[operator, place, _modules(stack)] += 1
    return [Caller(name, place, modules, count) for (name, place, modules), count in counts.most_common()]


def _stacks(trace: TraceTables, operators: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Each wanted call with the names of the Python frames around it, outermost first."""
    calls = [
        trace.lazy(table).filter(pl.col("name").is_in(list(operators))).select("tid", "ts_ns", "dur_ns", "name").collect()
        for table in ("host", "runtime")
    ]
    wanted = pl.concat(calls).with_columns(pl.lit(True).alias("call"))
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

"""Windows of a trace: text encoding, each denoising step, decoding, the whole call, each compilation.

A window has two ranges. On the host it is its mark's. On the device it runs from the end of what was launched before it (or from
its own start on the host, where the device was idle then) to the end of the last event that it launched; consecutive steps tile.
Without a GPU both are the same.
"""

from __future__ import annotations

import re

import polars as pl

from profiler.metrics.gpu_timeline import device_events
from profiler.metrics.window_pattern import repeated_calls
from profiler.rundir import layout
from profiler.tables import schema
from profiler.tables.run import Run
from profiler.tables.trace import TraceTables

TEXT, STEP, DECODE, CALL, COMPILE = "text", "step", "decode", "call", "compile"

_SCHEMA = {
    "name": pl.String,
    "index": pl.Int64,
    "host_start_ns": pl.Int64,
    "host_end_ns": pl.Int64,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "mark": pl.String,
}
_PROFILER_STEP = re.compile(r"ProfilerStep#(\d+)")
_MARKS = {layout.MARK_TEXT: TEXT, layout.MARK_DECODE: DECODE, layout.MARK_CALL: CALL}

Mark = tuple[str, int, int, str]
"""A window on the host: name, start and end in ns, what it was read from."""


def windows(run: Run, rank: int = 0) -> pl.DataFrame:
    """The windows of a rank's trace, in the order of their starts.

    Columns: name (text, step, decode, call, compile), index (from 0, for each name), host_start_ns, host_end_ns, start_ns, end_ns
    (on the trace's clock), mark (the annotation, `repeated regions`, or `whole trace`). A trace with any event has a `call`.

    Raises:
        UnreadableInput: no trace, or one that cannot be read.
    """
    trace = run.trace(rank)
    return windows_of(trace, device_events(trace))


def windows_of(trace: TraceTables, events: pl.DataFrame) -> pl.DataFrame:
    """The same, of a trace and its `device_events`."""
    marks = _marks(trace, events)
    rows = [row for name in (TEXT, STEP, DECODE, CALL, COMPILE) for row in _numbered(name, marks, events)]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("host_start_ns", "name", "index")


def _marks(trace: TraceTables, events: pl.DataFrame) -> list[Mark]:
    """What the trace says about itself, else what repeats in it, and always a call and the compilations."""
    annotated = _annotated(trace)
    marks = [mark for name, start, end in annotated if (mark := _own(name, start, end))]
    if not any(mark[0] == STEP for mark in marks):
        marks += _profiler_steps(annotated) or (
            [] if marks else [(STEP, start, end, "repeated regions") for start, end in repeated_calls(trace)]
        )
    if not any(mark[0] == CALL for mark in marks):
        marks += _everything(trace, events)
    return marks + _compilations(trace)


def _annotated(trace: TraceTables) -> list[tuple[str, int, int]]:
    named = pl.col("name").str.starts_with(layout.MARK_PREFIX) | pl.col("name").str.starts_with("ProfilerStep#")
    spans = trace.lazy("host").filter((pl.col("cat") == schema.USER_ANNOTATION) & named)
    return spans.select("name", "ts_ns", (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns")).sort("ts_ns").collect().rows()


def _own(name: str, start: int, end: int) -> Mark | None:
    kind = STEP if name.startswith(layout.MARK_STEP) else _MARKS.get(name)
    return (kind, start, end, name) if kind else None


def _profiler_steps(annotated: list[tuple[str, int, int]]) -> list[Mark]:
    return [(STEP, start, end, name) for name, start, end in annotated if _PROFILER_STEP.fullmatch(name)]


def _everything(trace: TraceTables, events: pl.DataFrame) -> list[Mark]:
    host = trace.lazy("host").filter(pl.col("cat").is_in([schema.CPU_OP, schema.USER_ANNOTATION]))
    extents = [
        rows.select(pl.col("ts_ns").min().alias("a"), (pl.col("ts_ns") + pl.col("dur_ns")).max().alias("b")).collect()
        for rows in (host, trace.lazy("runtime"))
    ] + [events.select(pl.col("start_ns").min().alias("a"), pl.col("end_ns").max().alias("b"))]
    start, end = pl.concat(extents).select(pl.col("a").min(), pl.col("b").max()).row(0)
    return [] if start is None else [(CALL, start, end, "whole trace")]


def _compilations(trace: TraceTables) -> list[Mark]:
    """Outermost compilations: torch >= 2.11 leaves a `dynamo` span for each."""
    spans = trace.lazy("host").filter((pl.col("cat") == schema.CPU_OP) & (pl.col("name") == "dynamo"))
    marks: list[Mark] = []
    for start, end in (
        spans.select("ts_ns", (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns")).sort("ts_ns").collect().iter_rows()
    ):
        if not marks or start >= marks[-1][2]:
            marks.append((COMPILE, start, end, "dynamo"))
    return marks


def _numbered(name: str, marks: list[Mark], events: pl.DataFrame) -> list[tuple[str, int, int, int, int, int, str]]:
    rows: list[tuple[str, int, int, int, int, int, str]] = []
    chosen = sorted(mark for mark in marks if mark[0] == name)
    for index, (_, host_start, host_end, mark) in enumerate(chosen):
        before = rows[-1][5] if rows else None
        tiles = name == STEP and before is not None and not _parted(marks, rows[-1][2], host_start)
        start, end = _device_range(name, host_start, host_end, before, events, tiles)
        rows.append((name, index, host_start, host_end, start, end, mark))
    return rows


def _parted(marks: list[Mark], after_ns: int, until_ns: int) -> bool:
    """Whether decoding or text encoding begins between two steps: the second is another call's, and does not tile on."""
    return any(name in (TEXT, DECODE) and after_ns <= start < until_ns for name, start, _, _ in marks)


def _device_range(
    name: str, host_start: int, host_end: int, before: int | None, events: pl.DataFrame, tiles: bool
) -> tuple[int, int]:
    """`before` is where the last window of the same name ended on the device; `tiles`: this one begins there."""
    if events.is_empty() or name == COMPILE:
        return host_start, host_end
    launched = events.filter(pl.col("launch_ns").is_between(host_start, host_end, closed="left"))
    last = launched["end_ns"].max()
    if name == CALL:
        return host_start, max(host_end, last) if isinstance(last, int) else host_end
    if tiles and before is not None:
        start = before
    else:
        earlier = events.filter(pl.col("launch_ns") < host_start)["end_ns"].max()
        start = max(host_start, earlier) if isinstance(earlier, int) else host_start
        start = max(start, before or start)
    end = last if isinstance(last, int) else host_end
    return start, max(start, end)

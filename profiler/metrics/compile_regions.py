"""What a trace alone tells of compiled code: regions, their graphs, resume functions, compilations inside the trace.

Times are integer nanoseconds on the trace's own clock.
"""

from __future__ import annotations

import re
import weakref
from dataclasses import dataclass, field

import polars as pl

from profiler.tables.trace import TraceTables

_REGION = "Torch-Compiled Region: "
_GRAPH = r"^## Call CompiledFxGraph (\S+) ##$"
_RESUME = r"^(.*)\((\d+)\): torch_dynamo_resume_in_(.+)_at_(\d+)$"
_COMPILING = ("dynamo", "entire_frame_compile")
_COMPILING_DATA = re.compile(r"^(?:dynamo|entire_frame_compile)_data: (?:.*, )?compile_id=([^,\s]+)$")

# Several metrics ask for the regions of one trace; they go when it goes.
_read: dict[int, pl.DataFrame] = {}

REGION_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "compile_id": pl.String,
    "pid": pl.Int64,
    "tid": pl.Int64,
    "ts_ns": pl.Int64,
    "dur_ns": pl.Int64,
    "self_ns": pl.Int64,
    "depth": pl.Int64,
    "fx_keys": pl.List(pl.String),
    "graph_start_ns": pl.Int64,
    "graph_end_ns": pl.Int64,
    "next_ns": pl.Int64,
}


@dataclass
class _Open:
    """A region while the spans inside it are read."""

    compile_id: str
    start: int
    end: int
    depth: int
    nested: int = 0
    keys: list[str] = field(default_factory=list)
    graph_start: int | None = None
    graph_end: int | None = None
    next: int | None = None


def regions(trace: TraceTables) -> pl.DataFrame:
    """One row a call of a compiled frame, in order of start within each thread.

    Columns: compile_id; pid, tid, ts_ns, dur_ns; self_ns (without regions nested in it: after a graph break the rest of a
    function runs inside the region of its beginning); depth (0 for an outermost region); fx_keys (of the graphs that it calls
    itself); graph_start_ns and graph_end_ns (from the first to the last of these, null without one); next_ns (start of the first
    region nested in it after its last graph, null without one).
    """
    number = id(trace)
    if number not in _read:
        _read[number] = _regions(trace)
        weakref.finalize(trace, _read.pop, number, None)
    return _read[number]


def _regions(trace: TraceTables) -> pl.DataFrame:
    spans = (
        trace.lazy("host")
        .select("pid", "tid", "ts_ns", "dur_ns", pl.col("name"), pl.col("name").str.extract(_GRAPH).alias("key"))
        .filter(pl.col("name").str.starts_with(_REGION) | pl.col("key").is_not_null())
        .sort("pid", "tid", "ts_ns", -pl.col("dur_ns"), maintain_order=True)
        .collect()
    )
    rows = [row for thread in spans.partition_by("pid", "tid", maintain_order=True) for row in _regions_of(thread)]
    return pl.DataFrame(rows, schema=REGION_TYPES, orient="row")


def _regions_of(thread: pl.DataFrame) -> list[tuple[object, ...]]:
    found: list[_Open] = []
    stack: list[_Open] = []
    for start, dur, name, key in thread.select("ts_ns", "dur_ns", "name", "key").iter_rows():
        while stack and stack[-1].end <= start:
            stack.pop()
        if key is None:
            region = _Open(name.removeprefix(_REGION).strip(), start, start + dur, len(stack))
            if stack:
                _nest(stack[-1], region)
            found.append(region)
            stack.append(region)
        elif stack:
            _call(stack[-1], key, start, dur)
    pid, tid = thread["pid"][0], thread["tid"][0]
    return [_row(each, pid, tid) for each in found]


def _nest(outer: _Open, inner: _Open) -> None:
    outer.nested += min(inner.end, outer.end) - inner.start
    if outer.next is None:
        outer.next = inner.start


def _call(region: _Open, key: str, start: int, dur: int) -> None:
    region.keys.append(key)
    region.graph_start = start if region.graph_start is None else region.graph_start
    region.graph_end = start + dur
    # What nested before its last graph is no rest after a break.
    region.next = None


def _row(each: _Open, pid: int, tid: int) -> tuple[object, ...]:
    dur = each.end - each.start
    keys = [key for key in each.keys if key != "None"]
    times = (each.start, dur, dur - each.nested, each.depth)
    return (each.compile_id, pid, tid, *times, keys, each.graph_start, each.graph_end, each.next)


def resumes(trace: TraceTables) -> pl.DataFrame:
    """Calls of the rest of a function after a graph break: file, function, line, pid, tid, ts_ns, dur_ns.

    `function` broke and goes on at `line` of `file`. Needs a trace with stacks; without them there is no row.
    """
    parts = pl.col("name").str.extract_groups(_RESUME)
    return (
        trace.lazy("python")
        .filter(pl.col("name").str.contains("torch_dynamo_resume_in_", literal=True))
        .with_columns(parts.alias("parts"))
        .select(
            pl.col("parts").struct[0].alias("file"),
            pl.col("parts").struct[2].alias("function"),
            pl.col("parts").struct[3].cast(pl.Int64, strict=False).alias("line"),
            "pid",
            "tid",
            "ts_ns",
            "dur_ns",
        )
        .filter(pl.col("function").is_not_null())
        .sort("ts_ns")
        .collect()
    )


def compilations(trace: TraceTables) -> pl.DataFrame:
    """Compilations that ran inside the trace: compile_id (null where the trace does not tell), pid, tid, ts_ns, dur_ns."""
    host = trace.lazy("host").filter(
        pl.col("name").is_in(_COMPILING) | pl.col("name").str.contains(r"^(?:dynamo|entire_frame_compile)_data: ")
    )
    spans = host.select("name", "pid", "tid", "ts_ns", "dur_ns").sort("ts_ns", maintain_order=True).collect()
    rows: list[list[object]] = []
    open_until: dict[tuple[int, int], int] = {}
    for name, pid, tid, ts, dur in spans.iter_rows():
        inside = ts < open_until.get((pid, tid), ts)
        if name in _COMPILING and not inside:
            rows.append([None, pid, tid, ts, dur])
            open_until[pid, tid] = ts + dur
        elif inside and (found := _COMPILING_DATA.match(name)):
            _name_last(rows, pid, tid, found[1])
    types = dict.fromkeys(("pid", "tid", "ts_ns", "dur_ns"), pl.Int64)
    return pl.DataFrame(rows, schema={"compile_id": pl.String, **types}, orient="row")


def _name_last(rows: list[list[object]], pid: int, tid: int, compile_id: str) -> None:
    for row in reversed(rows):
        if row[1:3] == [pid, tid]:
            row[0] = row[0] or compile_id
            return

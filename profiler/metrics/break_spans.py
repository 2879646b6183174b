"""When graph breaks happen in a trace: each time, where compiled code stopped until it went on."""

from __future__ import annotations

from typing import Any

import polars as pl

from profiler.metrics import break_records
from profiler.metrics.break_records import Key, Row, key_of
from profiler.metrics.compile_join import has_log
from profiler.metrics.compiles import compiles, joined_regions
from profiler.metrics.windows import windows
from profiler.rundir import layout
from profiler.tables.run import Run

SPAN_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "break": pl.String,
    "compile_id": pl.String,
    "innermost": pl.Boolean,
    "pid": pl.Int64,
    "tid": pl.Int64,
    "ts_ns": pl.Int64,
    "dur_ns": pl.Int64,
    "region_ts_ns": pl.Int64,
    "region_dur_ns": pl.Int64,
}


def break_spans(run: Run, rank: int = 0) -> pl.DataFrame:
    """Each time that compiled code stopped at a break, in order of start.

    Columns: break (its name in `graph_breaks`); compile_id (of the region that stopped); innermost (whether the region's own
    function holds the break: a caller that had inlined it stops too, before it calls it); pid, tid; ts_ns and dur_ns (from the
    end of the region's last graph, or its start where it shows none, to the next region inside it, or its own end); region_ts_ns
    and region_dur_ns (the region). Times are on the trace's clock. Spans of one thread do not overlap. Empty without log or
    trace.

    Raises:
        UnreadableInput: trace and log are of two programs, or cannot be read.
    """
    if not (has_log(run, rank) and run.has(layout.TRACE, rank)):
        return pl.DataFrame(schema=SPAN_TYPES)
    stops = _stops(run, rank)
    ran = joined_regions(run, rank).filter(pl.col("joined_by").is_not_null()).to_dicts()
    rows = [_span(*stops[key_of(each)], each) for each in ran if key_of(each) in stops]
    return pl.DataFrame(rows, schema=SPAN_TYPES, orient="row").sort("ts_ns", maintain_order=True)


def _stops(run: Run, rank: int) -> dict[Key, tuple[str, bool]]:
    """The break at which each compile ends, and whether it holds it itself."""
    known = compiles(run, rank).to_dicts()
    found: dict[Key, tuple[str, bool]] = {}
    for name, records in break_records.distinct(run.compile_log(rank).frame("breaks").to_dicts()).items():
        inner = break_records.holders(records, known)
        found |= {key_of(each): (name, key_of(each) in inner) for each in break_records.splits(records, known)}
    return found


def _span(name: str, innermost: bool, region: Row) -> Row:
    start = region["graph_end_ns"] if region["graph_end_ns"] is not None else region["ts_ns"]
    end = region["next_ns"] if region["next_ns"] is not None else region["ts_ns"] + region["dur_ns"]
    times = {"ts_ns": start, "dur_ns": max(0, end - start)}
    whole = {"region_ts_ns": region["ts_ns"], "region_dur_ns": region["dur_ns"]}
    return {"break": name, "innermost": innermost} | {each: region[each] for each in ("compile_id", "pid", "tid")} | times | whole


def per_window(run: Run, rank: int = 0) -> pl.DataFrame:
    """How often each break happens in each kind of window: break, window (name), windows (how many), count, per_window.

    Counted are innermost spans that start inside a window on the host. Every break that ran has a row for every kind of window.
    """
    spans = break_spans(run, rank)
    if spans.is_empty():
        types: dict[str, Any] = {"break": pl.String, "window": pl.String, "windows": pl.Int64, "count": pl.Int64}
        return pl.DataFrame(schema=types | {"per_window": pl.Float64})
    ranges = windows(run, rank).select(pl.col("name").alias("window"), "host_start_ns", "host_end_ns")
    inside = (pl.col("ts_ns") >= pl.col("host_start_ns")) & (pl.col("ts_ns") < pl.col("host_end_ns")) & pl.col("innermost")
    counted = spans.join(ranges, how="cross").group_by("break", "window", maintain_order=True)
    kinds = ranges.group_by("window").agg(pl.len().cast(pl.Int64).alias("windows"))
    rows = counted.agg(inside.sum().cast(pl.Int64).alias("count")).join(kinds, on="window", maintain_order="left")
    share = (pl.col("count") / pl.col("windows")).alias("per_window")
    return rows.select("break", "window", "windows", "count", share)

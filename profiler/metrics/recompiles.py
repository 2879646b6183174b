"""Recompiles: which guard failed, what it wanted and what came."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from profiler.metrics.compile_join import check_same_program
from profiler.metrics.compiles import compiles
from profiler.rundir import layout
from profiler.tables.compile_log_text import parse_guard
from profiler.tables.run import Run

_VERSION = re.compile(r"^(!?[\d/]+): ")
_DIGITS = re.compile(r"\d+")

TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "generation": pl.Int64,
    "compile_id": pl.String,
    "function": pl.String,
    "file": pl.String,
    "line": pl.Int64,
    "guard": pl.String,
    "text": pl.String,
    "before": pl.String,
    "now": pl.String,
    "hint": pl.String,
    "guard_file": pl.String,
    "guard_line": pl.Int64,
    "count": pl.Int64,
    "compiled": pl.Boolean,
    "start_ns": pl.Int64,
    "dur_ns": pl.Int64,
    "joined": pl.Boolean,
    "when": pl.String,
    "rank": pl.Int32,
}
Row = dict[str, Any]


def recompiles(run: Run, rank: int = 0) -> pl.DataFrame:
    """One row a recompile, in the order in which they happened.

    Columns: generation, compile_id (of the new compile), function, file, line; guard (that failed, without values), text (as
    torch tells it), before and now (the values, null where nobody tells), hint (torch's), guard_file and guard_line (where the
    guard was made, null where torch does not tell); count (recompiles of the same function by the same guard, whatever the
    values); compiled (false where the recompile limit made it run eagerly instead); start_ns (epoch) and dur_ns (what the
    recompile took); joined (whether this function ran in the trace, in this generation: what explain() or an earlier reset()
    compiled did not); when ("before", "inside" or "after" the trace; null without one).

    Raises:
        UnreadableInput: no log, or trace and log are of two programs.
    """
    check_same_program(run, rank)
    by_id = {(row["generation"], row["compile_id"]): row for row in compiles(run, rank).to_dicts()}
    found = run.compile_log(rank).frame("recompiles").to_dicts()
    versions = _values_of_versions(found)
    ran = {(generation, _frame(name)) for (generation, name), row in by_id.items() if row["calls"]}
    rows = [_row(each, by_id, versions, ran) for each in found]
    counted = pl.DataFrame(rows, schema=TYPES, orient="row")
    same = ["generation", "function", "file", "line", "guard"]
    count = pl.len().over(same).cast(pl.Int64).alias("count")
    return counted.with_columns(count, _when(run, rank).alias("when"))


def _when(run: Run, rank: int) -> pl.Expr:
    """Where a recompile lies relative to the trace."""
    if not run.has(layout.TRACE, rank):
        return pl.lit(None, pl.String)
    trace = run.trace(rank)
    end = (pl.col("ts_ns") + pl.col("dur_ns")).max()
    first, last = trace.lazy("host").select(pl.col("ts_ns").min().alias("first"), end.alias("last")).collect().row(0)
    start_ns = pl.col("start_ns") - trace.base_ns
    return (
        pl.when(start_ns < first)
        .then(pl.lit("before"))
        .when(start_ns > last)
        .then(pl.lit("after"))
        .when(start_ns.is_not_null())
        .then(pl.lit("inside"))
    )


def _row(each: Row, by_id: dict[Any, Row], versions: dict[Any, str], ran: set[Any]) -> Row:
    generation, compile_id = each["generation"], each["compile_id"]
    known = by_id.get((generation, compile_id), {})
    return {
        **{name: each[name] for name in TYPES if name in each},
        **{name: known.get(name) for name in ("function", "file", "line", "start_ns", "dur_ns")},
        "text": each["guards"][0],
        "now": each["now"] or versions.get((generation, compile_id, each["guard"])),
        "compiled": bool(known.get("has_graph")) or not known.get("skipped"),
        "joined": (generation, _frame(compile_id)) in ran,
    }


def _values_of_versions(found: list[Row]) -> dict[tuple[int, str, str], str]:
    """The value that each compiled version wants of a guard.

    Told only when that version fails in its turn: it is what came when the version was compiled.
    """
    wanted: dict[tuple[int, str, str], str] = {}
    for each in found:
        for text in each["guards"]:
            version, guard = _VERSION.match(text), parse_guard(text)
            if version and guard.before is not None:
                wanted[each["generation"], version[1], guard.guard] = guard.before
    return wanted


def _frame(compile_id: str | None) -> str:
    """The frame of a compile id: all its versions share it."""
    return (compile_id or "").rpartition("/")[0]

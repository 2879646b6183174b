"""Each compile of the log beside the time that it ran in the trace; what the recompile limit and CUDA graphs left out."""

from __future__ import annotations

import polars as pl

from profiler.metrics.compile_join import check_same_program, has_log, join
from profiler.metrics.compile_regions import REGION_TYPES, regions
from profiler.rundir import layout
from profiler.tables.run import Run

_NAMES = ("generation", "compile_id", "function", "file", "line")
_IN_TRACE = {"calls": pl.Int64, "trace_dur_ns": pl.Int64, "trace_self_ns": pl.Int64, "joined_by": pl.String}


def joined_regions(run: Run, rank: int = 0) -> pl.DataFrame:
    """The compiled regions of a run's trace with the compile that each runs; see `compile_join.join` for the columns.

    A run without a log has its regions unjoined, one without a trace has none.

    Raises:
        UnreadableInput: trace and log are of two programs, or cannot be read.
    """
    types = REGION_TYPES | {"generation": pl.Int64, "joined_by": pl.String}
    if not run.has(layout.TRACE, rank):
        return pl.DataFrame(schema=types)
    if not has_log(run, rank):
        return regions(run.trace(rank)).with_columns(
            pl.lit(None, types[name]).alias(name) for name in ("generation", "joined_by")
        )
    check_same_program(run, rank)
    return join(run.trace(rank), run.compile_log(rank).frame("compiles"))


def compiles(run: Run, rank: int = 0) -> pl.DataFrame:
    """Every compile of the log (columns of `compile_log_schema.COMPILES`) with four columns more.

    calls: how often it ran in the trace, 0 for one that does not join; trace_dur_ns and trace_self_ns: host time of these calls,
    with and without compiled regions nested inside; joined_by: "fx_key", "compile_id" or null.

    Raises:
        UnreadableInput: no log, or see `joined_regions`.
    """
    log = run.compile_log(rank).frame("compiles")
    ran = (
        joined_regions(run, rank)
        .group_by("generation", "compile_id")
        .agg(
            pl.len().cast(pl.Int64).alias("calls"),
            pl.col("dur_ns").sum().alias("trace_dur_ns"),
            pl.col("self_ns").sum().alias("trace_self_ns"),
            pl.col("joined_by").first(),
        )
    )
    counts = [pl.col(name).fill_null(0) for name, dtype in _IN_TRACE.items() if dtype == pl.Int64]
    return log.join(ran, on=["generation", "compile_id"], how="left", maintain_order="left").with_columns(counts)


def limits(run: Run, rank: int = 0) -> pl.DataFrame:
    """Each recompile limit that was hit: the function that runs eagerly since then.

    Columns: generation, compile_id, function, file, line, limit (the option), value, reason, at_ns (epoch), last_guard (failed).

    Raises:
        UnreadableInput: no log, or it cannot be read.
    """
    named = run.compile_log(rank).frame("compiles").select(*_NAMES, pl.col("recompile_reason").alias("last_guard"))
    rows = run.compile_log(rank).frame("limits").drop("rank")
    joined = rows.join(named, on=["generation", "compile_id"], how="left", maintain_order="left")
    return joined.select(*_NAMES, "limit", "value", "reason", "at_ns", "last_guard")


def cudagraph_skips(run: Run, rank: int = 0) -> pl.DataFrame:
    """Each graph that CUDA graphs were asked for and not used for: generation, compile_id, function, file, line, reason, count.

    Raises:
        UnreadableInput: no log, or it cannot be read.
    """
    log = run.compile_log(rank)
    counted = log.frame("cudagraph_skips").group_by("generation", "compile_id", "reason", maintain_order=True)
    rows = counted.agg(pl.len().cast(pl.Int64).alias("count"))
    named = log.frame("compiles").select(*_NAMES)
    joined = rows.join(named, on=["generation", "compile_id"], how="left", maintain_order="left")
    return joined.select(*_NAMES, "reason", "count")

"""The kernel breakdown: where the busy time went, by kernel and by class."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from profiler.metrics.classes import classify_cpu, classify_gpu
from profiler.metrics.self_time import with_self_time
from profiler.tables import schema
from profiler.tables.trace import TraceTables

_KERNEL_TYPES = {
    "name": pl.String,
    "class": pl.String,
    "count": pl.Int64,
    "total_ns": pl.Int64,
    "total_us": pl.Float64,
    "mean_us": pl.Float64,
    "share": pl.Float64,
}


@dataclass(frozen=True)
class Breakdown:
    """Busy time of a trace.

    Args:
        source: "gpu" (kernels, copies, memsets), "cpu" (self time of operators, where no GPU event is) or "none".
        kernels: one row a kernel name and class, longest first: name, class, count, total_ns, total_us, mean_us, share.
        classes: one row a class: class, count, total_ns, total_us, share. Shares of either table sum to 1, or are 0
            where nothing took time.
    """

    source: str
    kernels: pl.DataFrame
    classes: pl.DataFrame


def breakdown(trace: TraceTables) -> Breakdown:
    """The breakdown of a whole trace."""
    for source, totals in (("gpu", _gpu_totals), ("cpu", _cpu_totals)):
        rows = totals(trace)
        if not rows.is_empty():
            return Breakdown(source, _by_kernel(rows), _by_class(rows))
    empty = pl.DataFrame(schema={"name": pl.String, "class": pl.String, "count": pl.Int64, "total_ns": pl.Int64})
    return Breakdown("none", _by_kernel(empty), _by_class(empty))


def _gpu_totals(trace: TraceTables) -> pl.DataFrame:
    busy = trace.lazy("gpu").filter(pl.col("cat").is_in(schema.GPU_BUSY))
    totals = (
        busy.group_by("name", "cat")
        .agg(pl.len().alias("count"), pl.col("dur_ns").sum().alias("total_ns"))
        .collect(engine="streaming")
    )
    classes = [classify_gpu(name, cat) for name, cat in totals.select("name", "cat").iter_rows()]
    return totals.with_columns(pl.Series("class", classes, dtype=pl.String))


def _cpu_totals(trace: TraceTables) -> pl.DataFrame:
    ops = trace.lazy("host").filter(pl.col("cat") == schema.CPU_OP)
    spans = with_self_time(ops.select("pid", "tid", "ts_ns", "dur_ns", "name", "input_types").collect())
    totals = spans.group_by("name", "input_types").agg(pl.len().alias("count"), pl.col("self_ns").sum().alias("total_ns"))
    classes = [classify_cpu(name, types) for name, types in totals.select("name", "input_types").iter_rows()]
    return totals.with_columns(pl.Series("class", classes, dtype=pl.String))


def _by_kernel(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a name and class, in the documented columns and order."""
    merged = _with_times(_sum(rows, ["name", "class"]))
    return merged.with_columns((pl.col("total_us") / pl.col("count")).alias("mean_us")).select(
        pl.col(name).cast(dtype) for name, dtype in _KERNEL_TYPES.items()
    )


def _by_class(rows: pl.DataFrame) -> pl.DataFrame:
    return _with_times(_sum(rows, ["class"])).select("class", "count", "total_ns", "total_us", "share")


def _sum(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    summed = rows.group_by(by).agg(pl.col("count").sum().cast(pl.Int64), pl.col("total_ns").sum())
    return summed.sort(["total_ns", *by], descending=[True, *(False for _ in by)])


def _with_times(rows: pl.DataFrame) -> pl.DataFrame:
    total = rows["total_ns"].sum()
    share = pl.col("total_ns") / total if total else pl.lit(0.0)
    return rows.with_columns((pl.col("total_ns") / 1000).alias("total_us"), share.alias("share"))

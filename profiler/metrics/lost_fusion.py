"""What a graph break keeps from being fused: the tensor that crosses it, written before and read again after."""

from __future__ import annotations

import statistics

import polars as pl

from profiler.metrics.compiles import joined_regions
from profiler.metrics.floor_calls import call_of
from profiler.tables.run import Run

# Calls of a region that are looked at: they are alike.
_LOOKED_AT = 16
# A reduction that ends a region is cut into two kernels: the tensor that it reads is an argument of the first of them.
_LAST = 2
_WITH_WEIGHTS = r"^aten::(mm|addmm|bmm|baddbmm|linear|_scaled_mm|_int_mm|convolution|cudnn_convolution)$"


def crossing_bytes(run: Run, before: list[str], rank: int = 0) -> int | None:
    """Bytes of the tensor that crosses a break: the largest argument of the last operators or kernels before it.

    The median over calls of the regions; None where the trace has no shapes, or the regions run no graph. GEMMs and
    convolutions are left out: their largest argument may be a weight.

    Args:
        before: compile ids of the regions that end at the break.
    """
    ran = joined_regions(run, rank).filter(pl.col("compile_id").is_in(before) & pl.col("graph_start_ns").is_not_null())
    told = pl.col("input_dims").is_not_null() & ~pl.col("name").str.contains(_WITH_WEIGHTS)
    host = run.trace(rank).lazy("host").filter(told)
    found = []
    for tid, start, end in ran.head(_LOOKED_AT).select("tid", "graph_start_ns", "graph_end_ns").iter_rows():
        inside = host.filter((pl.col("tid") == tid) & pl.col("ts_ns").is_between(start, end)).sort("ts_ns").tail(_LAST)
        sizes = _sizes(inside.select("name", "input_dims", "input_types", "input_strides", "concrete_inputs").collect())
        found += [max(sizes)] if sizes else []
    return round(statistics.median(found)) if found else None


def _sizes(operators: pl.DataFrame) -> list[int]:
    """Bytes of every tensor argument."""
    calls = [
        call_of(name, name, "", (dims, types, strides, values)) for name, dims, types, strides, values in operators.iter_rows()
    ]
    return [tensor.size_bytes for call in calls if call for tensor in call.tensors]

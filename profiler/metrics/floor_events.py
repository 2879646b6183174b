"""The busy events of some windows with the time that each owns and the operator that launched it."""

from __future__ import annotations

import polars as pl

from profiler.metrics.classes import classify_gpu
from profiler.metrics.gpu_timeline import device_events
from profiler.tables import schema
from profiler.tables.trace import TraceTables

# What tells one call from another: all that its price depends on.
CALL_KEYS = ("name", "cat", "size_bytes", "op", "input_dims", "input_types", "input_strides", "concrete_inputs")
_IDENTITY = ("name", "cat", "correlation", "start_ns", "end_ns")


def window_events(trace: TraceTables, windows: pl.DataFrame) -> pl.DataFrame:
    """One row a busy event that owns time in a window, in their order.

    Columns: index (of the window), class, own_ns (what the ledger gives it there), dur_ns (its whole duration), call_id (one for
    all kernels of one call of an operator; null without an operator), and CALL_KEYS: op and inputs are null where no operator is
    known.
    """
    owned = _owned(device_events(trace), windows)
    kernels = owned.join(_links(trace), on=_IDENTITY, how="left", nulls_equal=True, maintain_order="left")
    operators = _operators(trace, kernels["external_id"].drop_nulls().unique())
    joined = kernels.join(operators, on="external_id", how="left", maintain_order="left")
    names = joined.select("name", "cat").unique(maintain_order=True)
    labels = [classify_gpu(name, cat) for name, cat in names.iter_rows()]
    classed = joined.join(
        names.with_columns(pl.Series("class", labels, dtype=pl.String)), on=["name", "cat"], maintain_order="left"
    )
    call = pl.when(pl.col("op").is_not_null()).then("external_id").alias("call_id")
    return classed.select("index", "class", "own_ns", "dur_ns", call, *CALL_KEYS)


def _owned(events: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Events with the part of each window that is theirs alone, as the ledger cuts it."""
    parts = [_in_window(events, *row) for row in windows.select("index", "start_ns", "end_ns").iter_rows()]
    empty = _in_window(events.clear(), 0, 0, 0)
    return pl.concat([empty, *parts]).filter(pl.col("own_ns") > 0)


def _in_window(events: pl.DataFrame, index: int, start: int, end: int) -> pl.DataFrame:
    since = pl.max_horizontal(pl.coalesce("own_ns", "start_ns"), pl.lit(start))
    own = (pl.min_horizontal("end_ns", pl.lit(end)) - since).clip(0)
    dur = (pl.col("end_ns") - pl.col("start_ns")).alias("dur_ns")
    return events.select(*_IDENTITY, own.cast(pl.Int64).alias("own_ns"), dur, pl.lit(index, pl.Int64).alias("index"))


def _links(trace: TraceTables) -> pl.DataFrame:
    """What `device_events` leaves out: the operator's id and the bytes of copies."""
    busy = trace.lazy("gpu").filter(pl.col("cat").is_in(schema.GPU_BUSY))
    end = (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns")
    columns = busy.select("name", "cat", "correlation", pl.col("ts_ns").alias("start_ns"), end, "external_id", "size_bytes")
    return columns.unique(_IDENTITY, keep="first", maintain_order=True).collect()


def _operators(trace: TraceTables, wanted: pl.Series) -> pl.DataFrame:
    """The operators of some ids, one each; an operator without recorded shapes has none either."""
    ops = trace.lazy("host").filter(pl.col("cat") == schema.CPU_OP).join(wanted.to_frame().lazy(), on="external_id", how="semi")
    columns = ops.rename({"name": "op"}).select("external_id", *CALL_KEYS[3:])
    return columns.unique("external_id", keep="first", maintain_order=True).collect(engine="streaming")

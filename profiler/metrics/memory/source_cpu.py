"""The memory phase of a CPU run as a `source.Recording`: the profiler's `[memory]` events, and the weights around them.

The profiler has no stacks for them and no list of what lived before: modules come from the recorder's ranges, the weights from
`weights.json`.
"""

from __future__ import annotations

import polars as pl

from profiler.metrics.memory import labels
from profiler.metrics.memory.nested import innermost, named_at
from profiler.metrics.memory.source import ALLOC, COMPILING_REGION, EVENTS, FREE, FREE_BLOCKS, HELD, SEGMENTS, STACKS, Recording
from profiler.rundir import layout
from profiler.tables import schema
from profiler.tables.run import Run
from profiler.tables.trace import TraceTables

_CPU = 0
_OPERATORS = {
    "aten::conv2d": labels.CONVOLUTION,
    "aten::conv3d": labels.CONVOLUTION,
    "aten::linear": labels.GEMM,
    "aten::scaled_dot_product_attention": labels.ATTENTION,
}


def read_cpu_trace(run: Run, rank: int, weights: pl.DataFrame) -> Recording:
    """The memory trace of a rank; `weights` are `weights.storages`.

    Raises:
        UnreadableInput: it is missing or cannot be read.
    """
    trace = run.trace(rank, layout.MEMORY_TRACE)
    return Recording(
        kind="cpu",
        events=_events(trace),
        held=_held(weights),
        stacks=pl.DataFrame(schema=STACKS),
        segments=pl.DataFrame(schema=SEGMENTS),
        free_blocks=pl.DataFrame(schema=FREE_BLOCKS),
        marks=_marks(trace),
        lost=trace.lost,
    )


def _events(trace: TraceTables) -> pl.DataFrame:
    rows = trace.lazy("memory").filter(pl.col("device_type") == _CPU).collect().sort("ts_ns", maintain_order=True)
    ranges = _ranges(trace, layout.MARK_MODULE)
    compiling = _spans(trace, pl.col("name").is_in(["dynamo", "entire_frame_compile"])).rows()
    threaded = rows.rename({"tid": "thread"})
    named = named_at(threaded, innermost(ranges), "ts_ns", "module")
    regions = innermost((tid, start, end, COMPILING_REGION) for tid, start, end, _ in compiling)
    return (
        _with_operators(named_at(named, regions, "ts_ns", "region"), trace)
        .with_row_index("index")
        .select(
            "index",
            pl.col("device").fill_null(-1),
            ((pl.col("ts_ns") + trace.base_ns) // 1000).alias("time_us"),
            pl.when(pl.col("size_bytes") < 0).then(pl.lit(FREE)).otherwise(pl.lit(ALLOC)).alias("action"),
            "address",
            pl.col("size_bytes").abs(),
            pl.lit(None).alias("device_free_bytes"),
            pl.lit(-1).alias("stack"),
            "region",
            "module",
            "operator",
            "call",
            pl.lit(False).alias("pooled"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in EVENTS.items())
    )


def _with_operators(rows: pl.DataFrame, trace: TraceTables) -> pl.DataFrame:
    """In which call of which operator each event lies."""
    spans = _spans(trace, pl.col("name").is_in(list(_OPERATORS))).sort("tid", "ts_ns")
    calls = spans.with_row_index("call").select(
        pl.col("tid").alias("thread"),
        pl.col("ts_ns").alias("began_ns"),
        "end_ns",
        pl.col("name").replace_strict(_OPERATORS, return_dtype=pl.String).alias("operator"),
        pl.col("call").cast(pl.Int64),
    )
    joined = rows.join_asof(calls, left_on="ts_ns", right_on="began_ns", by="thread", check_sortedness=False)
    inside = pl.col("ts_ns") <= pl.col("end_ns")
    return joined.with_columns(
        pl.when(inside).then("operator").fill_null("").alias("operator"), pl.when(inside).then("call").alias("call")
    )


def _spans(trace: TraceTables, which: pl.Expr) -> pl.DataFrame:
    spans = trace.lazy("host").filter(which & pl.col("cat").is_in([schema.USER_ANNOTATION, schema.CPU_OP]))
    return spans.select("tid", "ts_ns", (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns"), "name").collect()


def _ranges(trace: TraceTables, prefix: str) -> list[tuple[int, int, int, str]]:
    spans = _spans(trace, pl.col("name").str.starts_with(prefix))
    return spans.with_columns(pl.col("name").str.strip_prefix(prefix)).rows()


def _held(weights: pl.DataFrame) -> pl.DataFrame:
    here = weights.filter(pl.col("device").str.starts_with("cpu"))
    return here.with_columns(pl.lit(-1).alias("device"), pl.lit(-1).alias("stack")).select(
        pl.col(name).cast(dtype) for name, dtype in HELD.items()
    )


def _marks(trace: TraceTables) -> pl.DataFrame:
    spans = _spans(trace, pl.col("name").str.starts_with(layout.MARK_PREFIX))
    ends = [
        spans.select((pl.col(column) + trace.base_ns).alias("ns"), pl.lit(stage).alias("stage"), "name")
        for column, stage in (("ts_ns", "START"), ("end_ns", "END"))
    ]
    return pl.concat(ends).select(pl.col("ns") // 1000, "stage", "name").rename({"ns": "time_us"})

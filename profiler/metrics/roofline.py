"""The roofline: rate and arithmetic intensity of the calls that multiply, beside what was measured to be the most of this GPU.

A call is an operator with its shapes. What multiplies nothing has no place in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from profiler.metrics.floor_calls import Call, call_of
from profiler.metrics.floor_ceilings import Raised, raise_ceilings
from profiler.metrics.floor_events import window_events
from profiler.metrics.floor_prices import COPY_GBS, ceiling_of, multiplies, usable
from profiler.metrics.floor_products import Work, product
from profiler.metrics.ledger import Ledger
from profiler.tables import schema
from profiler.tables.run import Run

_KEYS = ("class", "op", "input_dims", "input_types", "input_strides", "concrete_inputs")
_WORK = {"flops": pl.Float64, "size_bytes": pl.Float64, "ceiling": pl.String, "shape": pl.String}
TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "class": pl.String,
    "op": pl.String,
    "kernel": pl.String,
    "shape": pl.String,
    "count": pl.Float64,
    "measured_ns": pl.Float64,
    "flops": pl.Float64,
    "size_bytes": pl.Float64,
    "ceiling": pl.String,
}


@dataclass(frozen=True)
class Roofline:
    """The calls of one repeat of a window.

    Args:
        calls: one row an operator with its shapes, longest first: class, op, kernel (the longest of it), shape (of its factors),
            count (calls), measured_ns (of all of them), flops and size_bytes (of all of them, the least that they need), ceiling
            (its name among `ceilings`, null where none was measured for its dtype).
        ceilings: rates that were measured on this GPU: products in 10^12 operations a second, `copy_gbs`.
        raised: those of them that kernels of this run beat, and that are as these reached them.
        unplaced_ns: kernels that multiply and whose shapes do not tell how much.
        why: why there is none; empty where there is.
    """

    calls: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TYPES))
    ceilings: Mapping[str, float] = field(default_factory=dict)
    unplaced_ns: float = 0.0
    why: str = ""
    raised: tuple[Raised, ...] = ()


def roofline(run: Run, of: Ledger, rank: int = 0) -> Roofline:
    """The roofline of the windows of a ledger.

    Raises:
        UnreadableInput: no trace, or one that cannot be read.
    """
    ceilings = usable(run.manifest.environment.get("ceilings") or {})
    if of.source != "gpu" or not ceilings:
        return Roofline(why="nothing ran on a GPU" if of.source != "gpu" else "the run has no measured ceilings")
    events = window_events(run.trace(rank), of.windows)
    kernels = events.filter((pl.col("cat") == schema.KERNEL) & _multiplying(events))
    calls = kernels.filter(pl.col("call_id").is_not_null())
    repeats = max(1, of.windows.height)
    ceilings, raised = raise_ceilings(run, events, ceilings)
    placed = _placed(calls, repeats)
    unplaced = float(kernels["own_ns"].sum()) / repeats - float(placed["measured_ns"].sum())
    why = "" if placed.height else "no call that multiplies has shapes"
    return Roofline(placed, ceilings, max(0.0, unplaced), why, raised)


def _multiplying(events: pl.DataFrame) -> pl.Expr:
    return pl.col("class").is_in([label for label in events["class"].unique() if multiplies(label)])


def _placed(events: pl.DataFrame, repeats: int) -> pl.DataFrame:
    summed = (
        events.sort("own_ns", descending=True)
        .group_by(_KEYS, maintain_order=True)
        .agg(
            pl.col("name").first().alias("kernel"),
            (pl.col("call_id").n_unique() / repeats).alias("count"),
            (pl.col("own_ns").sum() / repeats).cast(pl.Float64).alias("measured_ns"),
        )
    )
    works = [_work(row) for row in summed.iter_rows(named=True)]
    told = summed.hstack(pl.DataFrame(works, schema=_WORK, orient="row")).filter(pl.col("flops") > 0)
    whole = told.with_columns(pl.col("flops") * pl.col("count"), pl.col("size_bytes") * pl.col("count"))
    grouped = whole.group_by("class", "op", "shape", "ceiling", maintain_order=True).agg(
        pl.col("kernel").first(), pl.col("count", "measured_ns", "flops", "size_bytes").sum()
    )
    return grouped.select(list(TYPES)).sort(["measured_ns", "op", "shape"], descending=[True, False, False])


def _work(row: dict[str, Any]) -> tuple[float, float, str | None, str]:
    texts = (row["input_dims"], row["input_types"], row["input_strides"], row["concrete_inputs"])
    call = call_of(row["op"], row["kernel"], row["class"], texts)
    found = product(call) if call else None
    return (0.0, 0.0, None, "") if call is None or found is None else _told(call, found)


def _told(call: Call, work: Work) -> tuple[float, float, str | None, str]:
    factors = [each.shape for each in call.tensors if len(each.shape) > 1][:2]
    ceiling = ceiling_of(call.label, call.kernel, work.dtype) or None
    return work.flops, work.size_bytes, ceiling, " · ".join("×".join(map(str, shape)) for shape in factors)


def rates(calls: pl.DataFrame) -> pl.DataFrame:
    """With `intensity` (FLOP a byte) and `tflops` (10^12 a second, as it ran)."""
    return calls.with_columns(
        (pl.col("flops") / pl.col("size_bytes")).alias("intensity"),
        (pl.col("flops") / pl.col("measured_ns") / 1e3).alias("tflops"),
    )


def roof_tflops(intensity: float, ceiling: float, ceilings: Mapping[str, float]) -> float:
    """The most at an intensity: of the copy bandwidth, or of the product."""
    return min(ceiling, intensity * ceilings[COPY_GBS] / 1e3)

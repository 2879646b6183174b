"""Dynamically quantized Linears outside every compiled region: eager quantization, and for int8 a host wait each time."""

from __future__ import annotations

import json
from collections.abc import Iterable

import polars as pl

from profiler.core.finding import Finding, Saving
from profiler.metrics.host_states import HOST_WAIT, LAUNCH_EAGER
from profiler.metrics.places import Calls
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import STEP, Context
from profiler.rules.host_sync import places

_GEMMS = ("aten::_int_mm", "aten::_scaled_mm")
_REGION = "Torch-Compiled Region"


def check(context: Context) -> Iterable[Finding]:
    """One finding where a step runs quantized GEMMs both inside and outside compiled regions."""
    if STEP not in context.windows() or not context.compiled:
        return
    outside = _outside(context)
    if outside.is_empty():
        return
    repeats = max(1, context.ledger(STEP).windows.height)
    linears = round(outside.height / repeats)
    # A run that is eager on purpose has all of its Linears outside.
    rows = context.select(STEP, lambda row: row.kind == "idle" and not row.region and row.label in (HOST_WAIT, LAUNCH_EAGER))
    syncs = _syncs(context) / repeats
    shapes = sorted({_shape(dims) for dims in outside["input_dims"].to_list() if dims})
    waits = f" and make {syncs:.0f} host syncs a step" if syncs else ""
    yield Finding(
        rule=RULE.name,
        title=f"{linears} quantized Linears run eagerly outside the compiled regions{waits}",
        window=STEP,
        claims=tuple(row.id for row in rows),
        # Beyond what is claimed they launch several kernels each: on an H100 leaving them out saved 1.2 times the claim.
        saving=Saving(share_low=0.8, share_high=1.3),
        where=places(context.callers(Calls(frozenset(_GEMMS), STEP, eager=True))),
        count=linears,
        evidence=(f"(M, K, N): {'; '.join(shapes)}", f"{sum(row.total_ns for row in rows) / 1e3:,.0f} us idle a step as traced"),
        change="give these Linears the weight-only scheme (diffuscope's own policy does), or compile around them",
    )


def _outside(context: Context) -> pl.DataFrame:
    """Quantized GEMM operators in steps that no compiled region holds."""
    host = context.run.trace(context.rank).lazy("host").with_columns((pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns"))
    gemms = host.filter(pl.col("name").is_in(_GEMMS)).select("tid", "ts_ns", "input_dims").collect().sort("ts_ns")
    regions = host.filter(pl.col("name").str.starts_with(_REGION)).select("tid", "ts_ns", "end_ns").collect().sort("ts_ns")
    # Regions nest: the running maximum of their ends says how far back the cover reaches.
    regions = regions.with_columns(pl.col("end_ns").cum_max().over("tid"))
    covered = gemms.join_asof(regions, on="ts_ns", by="tid", strategy="backward", check_sortedness=False)
    steps = context.ledger(STEP).windows.select("host_start_ns", "host_end_ns").sort("host_start_ns")
    inside = covered.join_asof(steps, left_on="ts_ns", right_on="host_start_ns", strategy="backward").filter(
        pl.col("ts_ns") < pl.col("host_end_ns")
    )
    return inside.filter(pl.col("end_ns").is_null() | (pl.col("ts_ns") >= pl.col("end_ns")))


def _syncs(context: Context) -> int:
    """Synchronizing calls outside regions, in all steps together."""
    ledger = context.ledger(STEP)
    waits = ledger.waits.filter(
        pl.col("name").str.ends_with("Synchronize") & ((pl.col("region") == "") | pl.col("region").is_null())
    )
    starts = ledger.windows.select("host_start_ns", "host_end_ns").iter_rows()
    return sum(waits.filter(pl.col("start_ns").is_between(start, end)).height for start, end in starts)


def _shape(dims: str) -> str:
    a, b = json.loads(dims)[:2]
    return f"({a[0]}, {a[1]}, {b[1]})"


RULE = RULES.add(
    "eager-quantized-linear",
    Rule(
        name="eager-quantized-linear",
        summary="quantized Linears outside compiled regions",
        check=check,
        needs=(GPU_TRACE,),
        priority=8,
    ),
)

"""What quantizing activations takes where nothing is compiled: an operator a kernel, most of them ordinary pointwise ones."""

from __future__ import annotations

import polars as pl

from profiler.rules.context import Context

_PRODUCTS = ("aten::_scaled_mm", "aten::_int_mm")
# torchao finds a scale before it divides by it, rounds and multiplies.
_BEGINS = "torchao::choose_"


def quantizing_ms(context: Context, window: str) -> float:
    """Busy ms a window of what is launched from the choice of a scale to the quantized product; 0 where the trace tells none."""
    spans = _stretches(context)
    if spans.is_empty():
        return 0.0
    segments = context.ledger(window).segments.filter(pl.col("id").str.starts_with("busy/") & pl.col("host_ns").is_not_null())
    within = segments.sort("host_ns").join_asof(spans, left_on="host_ns", right_on="begins_ns", strategy="backward")
    inside = within.filter(pl.col("host_ns") < pl.col("until_ns"))
    total = int((inside["end_ns"] - inside["start_ns"]).sum())
    return total / 1e6 / max(1, context.ledger(window).windows.height)


def _stretches(context: Context) -> pl.DataFrame:
    """begins_ns, until_ns: from the last choice of a scale before a product to that product, in order."""
    host = context.run.trace(context.rank).lazy("host").select("name", "tid", "ts_ns")
    chosen = host.filter(pl.col("name").str.starts_with(_BEGINS)).select("tid", pl.col("ts_ns").alias("begins_ns")).collect()
    products = host.filter(pl.col("name").is_in(_PRODUCTS)).select("tid", pl.col("ts_ns").alias("until_ns")).collect()
    if chosen.is_empty() or products.is_empty():
        return pl.DataFrame(schema={"begins_ns": pl.Int64, "until_ns": pl.Int64})
    ordered = products.sort("until_ns")
    found = ordered.join_asof(
        chosen.sort("begins_ns"),
        left_on="until_ns",
        right_on="begins_ns",
        by="tid",
        strategy="backward",
        check_sortedness=False,
    )
    # One choice serves the product right after it.
    return found.drop_nulls().unique("begins_ns", keep="first").sort("begins_ns").select("begins_ns", "until_ns")

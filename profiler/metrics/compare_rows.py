"""Ledger rows of two runs joined: what was added, removed, became faster or slower."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from profiler.metrics.ledger import Ledger

ADDED, REMOVED, FASTER, SLOWER, WITHIN = "added", "removed", "faster", "slower", "within spread"
"""What became of a row; `within spread`: it changed by no more than it does from repeat to repeat of one run."""

BY_KERNEL, BY_CLASS = ("kind", "label", "detail"), ("kind", "label")
# Inductor numbers its kernels anew in every compilation.
_NUMBERED = r"^(triton_\w+?)_\d+$"


def repeats_of(ledger: Ledger) -> int:
    """How many windows of its name a ledger holds, at least 1."""
    return max(1, ledger.windows.height)


def _by_row(of: Ledger, by: Sequence[str]) -> pl.DataFrame:
    """Of one run: `count`, `ns` of one repeat, `spread_ns` between repeats; rounding is carried from row to row."""
    repeats = repeats_of(of)
    named = of.rows.with_columns(pl.col("detail").str.replace(_NUMBERED, "$1"))
    each = named.group_by(*by, "index").agg(pl.col("count").sum(), pl.col("priced_ns").sum().alias("ns"))
    missing = pl.len() < repeats
    spread = pl.col("ns").max() - pl.when(missing).then(pl.min_horizontal(pl.col("ns").min(), 0)).otherwise(pl.col("ns").min())
    rows = each.group_by(by).agg(
        (pl.col("count").sum() / repeats).alias("count"),
        pl.col("ns").sum(),
        (spread if repeats > 1 else pl.lit(None, pl.Int64)).cast(pl.Int64).alias("spread_ns"),
    )
    until = (pl.col("ns").cum_sum() / repeats).round().cast(pl.Int64)
    return rows.sort(by).with_columns(until - until.shift(1).fill_null(0).alias("ns"))


def joined(base: Ledger, new: Ledger, by: Sequence[str]) -> pl.DataFrame:
    """Rows of both by `by`: base_count, new_count, base_ns, new_ns, delta_ns, spread_ns, status; what changed most first."""
    both = _by_row(base, by).join(_by_row(new, by), on=by, how="full", coalesce=True, suffix="_new")
    rows = both.select(
        *by,
        pl.col("count").fill_null(0.0).alias("base_count"),
        pl.col("count_new").fill_null(0.0).alias("new_count"),
        pl.col("ns").fill_null(0).alias("base_ns"),
        pl.col("ns_new").fill_null(0).alias("new_ns"),
        (pl.col("ns_new").fill_null(0) - pl.col("ns").fill_null(0)).alias("delta_ns"),
        pl.max_horizontal("spread_ns", "spread_ns_new").alias("spread_ns"),
        pl.col("count").is_null().alias("is_new"),
        pl.col("count_new").is_null().alias("is_gone"),
    )
    return ordered(rows.with_columns(_status().alias("status")).drop("is_new", "is_gone"), by)


def _status() -> pl.Expr:
    return (
        pl.when("is_new")
        .then(pl.lit(ADDED))
        .when("is_gone")
        .then(pl.lit(REMOVED))
        .when(pl.col("delta_ns").abs() <= pl.col("spread_ns").fill_null(0))
        .then(pl.lit(WITHIN))
        .when(pl.col("delta_ns") < 0)
        .then(pl.lit(FASTER))
        .otherwise(pl.lit(SLOWER))
    )


def ordered(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """What changed most first."""
    return rows.sort([pl.col("delta_ns").abs(), *by], descending=[True, *(False for _ in by)])

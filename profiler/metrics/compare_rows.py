"""Ledger rows of two runs joined: what was added, removed, became faster or slower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from profiler.metrics.ledger import Ledger
from profiler.metrics.repeats import weight_of

ADDED, REMOVED, FASTER, SLOWER = "added", "removed", "faster", "slower"
WITHIN, SAME = "within spread", "about the same"
"""What became of a row. `within spread`: it changed by no more than it does from repeat to repeat of one run; of single repeats,
whose spread nobody knows, what changed by at most 2 % is `about the same`."""

BY_KERNEL, BY_CLASS = ("kind", "label", "detail"), ("kind", "label")
_CLOSE = 0.02
# Inductor numbers its kernels anew in every compilation.
_NUMBERED = r"^(triton_\w+?)_\d+$"


@dataclass(frozen=True)
class Repeated:
    """A ledger, and how often a whole call has its window (0: not known)."""

    ledger: Ledger
    times: float = 0.0

    @property
    def traced(self) -> int:
        """How many windows of its name the trace holds, at least 1."""
        return max(1, self.ledger.windows.height)

    @property
    def rows(self) -> pl.DataFrame:
        """The ledger's rows, with `weight`: of their repeat in the mean repeat of a call."""
        return self.ledger.rows.with_columns(weight_of(self.ledger.windows, self.times))


def _by_row(of: Repeated, by: Sequence[str]) -> pl.DataFrame:
    """Of one run: `count`, `ns` of one repeat, `spread_ns` between repeats; rounding is carried from row to row."""
    named = of.rows.with_columns(pl.col("detail").str.replace(_NUMBERED, "$1"))
    each = named.group_by(*by, "index").agg(pl.col("count").sum(), pl.col("priced_ns").sum(), pl.col("weight").first())
    # A repeat that lacks the row has none of its time.
    least = pl.when(pl.len() < of.traced).then(0).otherwise(pl.col("priced_ns").min())
    spread = (pl.col("priced_ns").max() - least) if of.traced > 1 else pl.lit(None)
    rows = each.group_by(by).agg(
        (pl.col("count") * pl.col("weight")).sum().alias("count"),
        (pl.col("priced_ns") * pl.col("weight")).sum().alias("ns"),
        spread.cast(pl.Int64).alias("spread_ns"),
    )
    until = pl.col("ns").cum_sum().round().cast(pl.Int64)
    return rows.sort(by).with_columns(until - until.shift(1).fill_null(0).alias("ns"))


def joined(base: Repeated, new: Repeated, by: Sequence[str]) -> pl.DataFrame:
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
        .when(pl.col("delta_ns").abs() <= pl.col("spread_ns"))
        .then(pl.lit(WITHIN))
        .when(pl.col("spread_ns").is_null() & (pl.col("delta_ns").abs() <= _CLOSE * pl.max_horizontal("base_ns", "new_ns")))
        .then(pl.lit(SAME))
        .when(pl.col("delta_ns") < 0)
        .then(pl.lit(FASTER))
        .otherwise(pl.lit(SLOWER))
    )


def ordered(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """What changed most first."""
    return rows.sort([pl.col("delta_ns").abs(), *by], descending=[True, *(False for _ in by)])

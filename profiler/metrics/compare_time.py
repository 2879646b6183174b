"""The windows of two runs beside each other: what was added, removed, became faster or slower. Rows sum to the difference.

All times are untraced prices of the ledger in whole nanoseconds of one repeat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from profiler.metrics.ledger import Ledger, ledgers
from profiler.metrics.ledger_segments import BUSY
from profiler.metrics.windows import CALL, DECODE, STEP, TEXT, windows
from profiler.rundir import layout
from profiler.tables.run import Run

NAMES = (STEP, TEXT, DECODE, CALL)
ADDED, REMOVED, FASTER, SLOWER, WITHIN = "added", "removed", "faster", "slower", "within spread"
"""What became of a row; `within spread`: it changed by no more than it does from repeat to repeat of one run."""

_NUMBERS = ("base_count", "new_count", "base_ns", "new_ns", "delta_ns")
# Inductor numbers its kernels anew in every compilation.
_NUMBERED = r"^(triton_\w+?)_\d+$"


@dataclass(frozen=True)
class WindowDifference:
    """One window of two runs.

    Args:
        name: text, step, decode or call.
        base_ns, new_ns: untraced time of one repeat; rows of `classes`, and those of `kernels`, sum to their difference.
        base_repeats, new_repeats: how many of it the traces hold, which the rows are averaged over.
        calibrated: whether the untraced times of both are known; if not, idle time is as traced.
        classes: kind (busy, idle), label (kernel class or cause of idleness), base_count, new_count, base_ns, new_ns, delta_ns,
            spread_ns (the larger of what the row varies by between the repeats of one run; null for single repeats), status.
        kernels: the same by label and detail (kernel, or where it stood idle). Both tables: what changed most first.
    """

    name: str
    base_ns: int
    new_ns: int
    base_repeats: int
    new_repeats: int
    calibrated: bool
    classes: pl.DataFrame
    kernels: pl.DataFrame

    @property
    def delta_ns(self) -> int:
        """New less base; negative where it became faster."""
        return self.new_ns - self.base_ns

    def busy_ns(self, *labels: str) -> tuple[int, int]:
        """Base and new busy time of the classes whose label begins with one of `labels`."""
        wanted = pl.any_horizontal(pl.col("label").str.starts_with(each) for each in labels)
        return self._sums((pl.col("kind") == BUSY) & wanted)

    def idle_ns(self) -> tuple[int, int]:
        """Base and new idle time."""
        return self._sums(pl.col("kind") != BUSY)

    def _sums(self, test: pl.Expr) -> tuple[int, int]:
        base, new = self.classes.filter(test).select(pl.col("base_ns", "new_ns").sum()).row(0)
        return base, new


def window_ledgers(run: Run) -> dict[str, Ledger]:
    """The ledgers of a run's windows by name, of the first rank that has a trace.

    Raises:
        UnreadableInput: the run holds no trace, or one that cannot be read.
    """
    rank = next((each for each in run.ranks if run.has(layout.TRACE, each)), 0)
    known = set(windows(run, rank)["name"])
    return ledgers(run, [name for name in NAMES if name in known], rank)


def compare_windows(new: Mapping[str, Ledger], base: Mapping[str, Ledger]) -> dict[str, WindowDifference]:
    """The windows that both traces have, by name, steps first; the arguments are what `window_ledgers` gives."""
    return {name: difference(new[name], base[name]) for name in NAMES if name in new and name in base}


def difference(new: Ledger, base: Ledger) -> WindowDifference:
    """One window of two ledgers."""
    kernels = _joined(_by_row(base), _by_row(new))
    return WindowDifference(
        name=base.window,
        base_ns=int(kernels["base_ns"].sum()),
        new_ns=int(kernels["new_ns"].sum()),
        base_repeats=_repeats(base),
        new_repeats=_repeats(new),
        calibrated=base.pricing.calibrated and new.pricing.calibrated,
        classes=_classes(kernels, base, new),
        kernels=kernels,
    )


def _repeats(of: Ledger) -> int:
    return max(1, of.windows.height)


def _by_row(of: Ledger, by: Sequence[str] = ("kind", "label", "detail")) -> pl.DataFrame:
    """Of one run: `count`, `ns` of one repeat, `spread_ns` between repeats; rounding is carried from row to row."""
    repeats = _repeats(of)
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


def _joined(base: pl.DataFrame, new: pl.DataFrame, by: Sequence[str] = ("kind", "label", "detail")) -> pl.DataFrame:
    both = base.join(new, on=by, how="full", coalesce=True, suffix="_new")
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
    return _ordered(rows.with_columns(_status().alias("status")).drop("is_new", "is_gone"), by)


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


def _ordered(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    return rows.sort([pl.col("delta_ns").abs(), *by], descending=[True, *(False for _ in by)])


def _classes(kernels: pl.DataFrame, base: Ledger, new: Ledger) -> pl.DataFrame:
    """By class: times are sums of the kernels' whole nanoseconds, so that both tables have one sum; spreads are of the class."""
    by = ("kind", "label")
    spreads = _joined(_by_row(base, by), _by_row(new, by), by).select(*by, "spread_ns", "status")
    sums = kernels.group_by(by).agg(pl.col(_NUMBERS).sum())
    return _ordered(sums.join(spreads, on=by), by)

"""The repeats of a window in a trace, weighed as a whole call has them."""

from __future__ import annotations

import polars as pl


def weight_of(windows: pl.DataFrame, times: float) -> pl.Expr:
    """`weight` of each traced repeat (by `index`) in the mean repeat of a call that has `times` of them.

    The first repeat starts on an empty GPU and pays for it: a call of `times` pays once, however few of them were traced.
    """
    traced, first = max(1, windows.height), windows["index"].min()
    if traced == 1 or times <= traced or not isinstance(first, int):
        return pl.lit(1.0 / traced).alias("weight")
    others = (1.0 - 1.0 / times) / (traced - 1)
    return pl.when(pl.col("index") == first).then(1.0 / times).otherwise(others).alias("weight")

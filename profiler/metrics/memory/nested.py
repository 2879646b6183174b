"""Ranges that nest, as the innermost one at any time."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

Range = tuple[int, int, int, str]
"""Thread, start, end, name."""


def innermost(ranges: Iterable[Range]) -> pl.DataFrame:
    """Where the innermost range changes: thread, at (from here on), name ("" outside all), in order.

    A range holds its start and not its end. Ranges that overlap without nesting end with the one around them.
    """
    rows: list[tuple[int, int, str]] = []
    open_ranges: list[Range] = []
    for each in sorted(ranges, key=lambda it: (it[0], it[1], -it[2])):
        _close(open_ranges, rows, each[0], each[1])
        rows.append((each[0], each[1], each[3]))
        open_ranges.append(each)
    _close(open_ranges, rows, None, 0)
    return _settled(rows)


def _close(open_ranges: list[Range], rows: list[tuple[int, int, str]], thread: int | None, until: int) -> None:
    while open_ranges and (open_ranges[-1][0] != thread or open_ranges[-1][2] <= until):
        ended = open_ranges.pop()
        around = open_ranges[-1][3] if open_ranges else ""
        rows.append((ended[0], ended[2], around))


def _settled(rows: list[tuple[int, int, str]]) -> pl.DataFrame:
    """The last word on each moment counts."""
    frame = pl.DataFrame(rows, schema={"thread": pl.Int64, "at": pl.Int64, "name": pl.String}, orient="row")
    kept = frame.unique(["thread", "at"], keep="last", maintain_order=True)
    return kept.sort("thread", "at", maintain_order=True)


def named_at(moments: pl.DataFrame, changes: pl.DataFrame, at: str, name: str) -> pl.DataFrame:
    """`moments` with a column `name`: the innermost range at their time `at` on their `thread`; "" outside all."""
    if changes.is_empty():
        return moments.with_columns(pl.lit("").alias(name))
    right = changes.rename({"at": "_at", "name": name})
    in_order = moments["thread"].n_unique() <= 1 and moments[at].is_sorted()
    numbered = moments.with_row_index("_row")
    ordered = numbered if in_order else numbered.sort("thread", at, maintain_order=True)
    joined = ordered.join_asof(right, left_on=at, right_on="_at", by="thread", strategy="backward", check_sortedness=False)
    whole = joined if in_order else joined.sort("_row")
    return whole.drop("_row", "_at", strict=False).with_columns(pl.col(name).fill_null(""))

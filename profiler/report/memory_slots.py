"""A time line in equal stretches: of each the highest value, so that no peak is lost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import polars as pl

SLOTS = 240


@dataclass(frozen=True)
class Slots:
    """`SLOTS` equal stretches of a time, in epoch microseconds."""

    start_us: int
    end_us: int

    def number(self, time_us: int) -> int:
        """The stretch that holds a time; the nearest for one outside."""
        span = max(1, self.end_us - self.start_us)
        return min(SLOTS - 1, max(0, (time_us - self.start_us) * SLOTS // span))


def slots_of(changes: pl.DataFrame, slots: Slots, value: str) -> list[int]:
    """The highest `value` in each stretch of what holds from each row until the next.

    Args:
        changes: index, time_us and `value`, in order of index; index -1 holds from the start.
    """
    timed = changes.drop_nulls(value).with_columns(pl.col("time_us").fill_null(slots.start_us))
    span = max(1, slots.end_us - slots.start_us)
    slot = ((pl.col("time_us") - slots.start_us) * SLOTS // span).clip(0, SLOTS - 1)
    ordered = timed.sort("index").with_columns(slot.alias("slot"))
    grouped = ordered.group_by("slot", maintain_order=True).agg(
        pl.col(value).max().alias("most"), pl.col(value).last().alias("last")
    )
    found = {slot: (most, last) for slot, most, last in grouped.iter_rows()}
    return _carried(found)


def _carried(found: dict[int, tuple[int, int]]) -> list[int]:
    values, held = [], 0
    for number in range(SLOTS):
        most, last = found.get(number, (held, held))
        values.append(max(held, most))
        held = last
    return values


def columns(values: list[int], width: int) -> list[int]:
    """Slots as `width` columns, of each the highest."""
    edges = [each * len(values) // width for each in range(width + 1)]
    return [max(values[start : max(end, start + 1)]) for start, end in pairwise(edges)]

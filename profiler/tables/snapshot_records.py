"""Records (dicts of one kind) read by column: each method takes one key of all of them."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import polars as pl

from profiler.tables.snapshot_shape import WrongShape
from profiler.tables.snapshot_stacks import Stacks, texts

# No device has more: larger numbers are garbage, and a few of them would overflow every sum.
_MOST_BYTES = 1 << 48
_Dtype = pl.DataType | type[pl.DataType]


class Records:
    """Records of one list.

    Args:
        where: what the list is called in the snapshot, for messages.

    Every method raises WrongShape where a value is not what it should be.
    """

    def __init__(self, records: list[dict[str, Any]], where: str) -> None:
        self._records = records
        self._where = where

    def values(self, key: str) -> list[Any]:
        """The values of `key`, None where a record has none."""
        try:
            return list(map(itemgetter(key), self._records))
        except KeyError:
            return [each.get(key) for each in self._records]

    def integers(self, key: str, dtype: _Dtype, required: bool = True) -> pl.Series:
        """Whole numbers; null where a record has none, if it need not."""
        return self._checked(key, self._typed(key, self.values(key), dtype, "whole numbers that fit"), required)

    def sizes(self, key: str, required: bool = True) -> pl.Series:
        """Numbers of bytes that a device can have."""
        return self.check_sizes(self.integers(key, pl.UInt64, required), key, self._where)

    @staticmethod
    def check_sizes(found: pl.Series, key: str, where: str) -> pl.Series:
        """The same numbers of bytes, if a device can have each."""
        largest = found.max()
        if isinstance(largest, int) and largest > _MOST_BYTES:
            raise WrongShape(f"{key!r} of {where} says {largest} bytes, which no device has")
        return found

    def texts(self, key: str, absent: tuple[str, ...] = ()) -> pl.Series:
        """Strings; empty for None and for the words of `absent`."""
        found = texts(self.values(key), f"{key!r} of {self._where}").fill_null("")
        return found.replace(list(absent), [""] * len(absent)) if absent else found

    def words(self, key: str, known: tuple[str, ...], also: dict[str, str] | None = None) -> pl.Series:
        """One of the known words each, or of `also`, which maps other spellings to them."""
        found = texts(self.values(key), f"{key!r} of {self._where}")
        found = found.replace(also) if also else found
        result = found.cast(pl.Enum(known), strict=False)
        if result.null_count():
            odd = found.filter(result.is_null())[0]
            raise WrongShape(f"{key!r} of {self._where} says {str(odd)[:80]!r}; known are {', '.join(known)}")
        return result

    def flags(self, key: str) -> pl.Series:
        """True or False; False where a record does not say."""
        return self._typed(key, self.values(key), pl.Boolean, "True or False").fill_null(value=False)

    def pools(self, key: str) -> tuple[pl.Series, pl.Series]:
        """Both halves of pool ids; null where a record has none."""
        found = self.values(key)
        try:
            pairs = [each if each is None else (each[0], each[1]) for each in found]
        except (TypeError, LookupError):
            raise WrongShape(f"{key!r} of {self._where} is not always a pair") from None
        halves = [[None if pair is None else pair[half] for pair in pairs] for half in (0, 1)]
        first, second = (self._typed(key, half, pl.Int64, "pairs of whole numbers") for half in halves)
        return first, second

    def stacks(self, key: str, stacks: Stacks) -> pl.Series:
        """Numbers of the frame lists."""
        return pl.Series(stacks.numbers(self.values(key)), dtype=pl.Int32)

    def _typed(self, key: str, values: list[Any], dtype: _Dtype, what: str) -> pl.Series:
        try:
            return pl.Series(values, dtype=dtype)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            raise WrongShape(f"{key!r} of {self._where} are not all {what}") from None

    def _checked(self, key: str, found: pl.Series, required: bool) -> pl.Series:
        if required and found.null_count():
            raise WrongShape(f"{found.null_count()} of {found.len()} records of {self._where} have no {key!r}")
        return found

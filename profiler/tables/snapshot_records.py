"""Records (dicts of one kind) read by column: each method takes one key of all of them."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from operator import contains, itemgetter
from typing import Any

import polars as pl

from profiler.tables.snapshot_room import Room
from profiler.tables.snapshot_shape import WrongShape
from profiler.tables.snapshot_stacks import Stacks, texts

# No device has more: larger numbers are garbage, and a few of them would overflow every sum.
_MOST_BYTES = 1 << 48
_Dtype = pl.DataType | type[pl.DataType]


class Records:
    """Some records of one list, few enough that their columns are read while the processor still holds them.

    Args:
        where: what the list is called in the snapshot, for messages.

    Every method raises WrongShape where a value is not what it should be.
    """

    def __init__(self, records: list[dict[str, Any]], where: str, room: Room) -> None:
        self._records = records
        self._where = where
        self._room = room

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._records)

    def have(self, key: str) -> bool:
        """Whether any record has the key."""
        return any(map(contains, self._records, repeat(key)))

    def one(self, value: object, dtype: _Dtype) -> pl.Series:
        """The same value for every record."""
        return pl.Series([value], dtype=dtype).new_from_index(0, self.count)

    def integers(self, key: str, dtype: _Dtype, required: bool = True) -> pl.Series:
        """Whole numbers; null where a record has none, if it need not."""
        found = self._typed(key, self._values(key), dtype, "whole numbers that fit")
        if required and found.null_count():
            raise WrongShape(f"{self._where} holds records without {key!r}")
        return found

    def sizes(self, key: str, required: bool = True) -> pl.Series:
        """Numbers of bytes that a device can have."""
        found = self.integers(key, pl.UInt64, required)
        self.check_sizes(found, key)
        return found

    def check_sizes(self, sizes: pl.Series, key: str) -> None:
        """Refuse what no device has."""
        largest = sizes.max()
        if isinstance(largest, int) and largest > _MOST_BYTES:
            raise WrongShape(f"{key!r} of {self._where} says {largest} bytes, which no device has")

    def texts(self, key: str, absent: tuple[str, ...] = ()) -> pl.Series:
        """Strings, as few distinct ones; empty for None and for the words of `absent`."""
        values = self._values(key)
        distinct = self._distinct(key, values)
        words = texts(["" if each is None or each in absent else each for each in distinct], f"{key!r} of {self._where}")
        counts = {distinct[0]: self.count} if len(distinct) == 1 else Counter(values)
        for text, word in zip(distinct, words, strict=True):
            self._room.text(len(word))
            self._room.chars(len(word) * counts[text])
        return self._spread(words.cast(pl.Categorical), distinct, values)

    def words(self, key: str, dtype: pl.Enum, also: dict[str, str] | None = None) -> tuple[pl.Series, list[Any]]:
        """Words of an enumeration, null where a word is none of it, and those words; `also` maps other spellings to them."""
        values = self._values(key)
        distinct = self._distinct(key, values)
        found = texts([(also or {}).get(each, each) for each in distinct], f"{key!r} of {self._where}").cast(dtype, strict=False)
        odd = [each for each, word in zip(distinct, found, strict=True) if word is None]
        return self._spread(found, distinct, values), [each for each in values if each in odd] if odd else []

    def known_words(self, key: str, dtype: pl.Enum, also: dict[str, str] | None = None) -> pl.Series:
        """Words of an enumeration and no other."""
        found, odd = self.words(key, dtype, also)
        if odd:
            known = ", ".join(dtype.categories)
            raise WrongShape(f"{key!r} of {self._where} says {str(odd[0])[:80]!r}; known are {known}")
        return found

    def flags(self, key: str) -> pl.Series:
        """True or False; False where a record does not say."""
        return self._typed(key, self._values(key), pl.Boolean, "True or False").fill_null(value=False)

    def pools(self, key: str) -> tuple[pl.Series, pl.Series]:
        """Both halves of pool ids; null where a record has none."""
        if not self.have(key):
            return self.one(None, pl.Int64), self.one(None, pl.Int64)
        try:
            pairs = [(None, None) if each is None else (each[0], each[1]) for each in self._values(key)]
        except (TypeError, LookupError):
            raise WrongShape(f"{key!r} of {self._where} is not always a pair") from None
        first, second = zip(*pairs, strict=True)
        what = "pairs of whole numbers"
        return self._typed(key, first, pl.Int64, what), self._typed(key, second, pl.Int64, what)

    def stacks(self, stacks: Stacks) -> pl.Series:
        """Numbers of the frame lists."""
        return pl.Series(stacks.numbers(self._values("frames")), dtype=pl.Int32)

    def _values(self, key: str) -> list[Any]:
        """The values of `key`, None where a record has none."""
        try:
            return list(map(itemgetter(key), self._records))
        except KeyError:
            return [each.get(key) for each in self._records]

    def _distinct(self, key: str, values: list[Any]) -> list[Any]:
        if values.count(values[0]) == len(values):
            return values[:1]
        try:
            return list(dict.fromkeys(values))
        except TypeError:
            raise WrongShape(f"{key!r} of {self._where} is not always a text") from None

    def _spread(self, words: pl.Series, distinct: list[Any], values: list[Any]) -> pl.Series:
        """The column of `values`, from what became of the distinct ones."""
        if len(distinct) == 1:
            return words.new_from_index(0, self.count)
        numbers = {each: number for number, each in enumerate(distinct)}
        return words[pl.Series(list(map(numbers.__getitem__, values)), dtype=pl.UInt32)]

    def _typed(self, key: str, values: Any, dtype: _Dtype, what: str) -> pl.Series:
        try:
            return pl.Series(values, dtype=dtype)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            raise WrongShape(f"{key!r} of {self._where} are not all {what}") from None

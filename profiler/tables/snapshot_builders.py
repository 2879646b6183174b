"""Columns that grow by a few thousand records at a time, while the processor still holds these, until a row group is full.

Every `add` raises WrongShape where a value is not what it should be.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby, repeat
from operator import contains, itemgetter
from typing import Any, Protocol

from profiler.tables import parquet
from profiler.tables.parquet import Chunk, Kind
from profiler.tables.snapshot_room import Room
from profiler.tables.snapshot_shape import WrongShape
from profiler.tables.snapshot_stacks import Stacks, check_text

Records = list[dict[str, Any]]
# No device has more: larger numbers are garbage, and a few of them would overflow every sum.
MOST_BYTES = 1 << 48


class Builder(Protocol):
    """One column."""

    def add(self, records: Records) -> None:
        """Take the column's value of each record."""

    def take(self) -> Chunk:
        """What was added since the last time."""


def values_of(records: Records, key: str) -> list[Any] | None:
    """The value of `key` of each record, None where it has none; None where no record has it."""
    try:
        return list(map(itemgetter(key), records))
    except KeyError:
        return [each.get(key) for each in records] if any(map(contains, records, repeat(key))) else None


class Numbers:
    """Whole numbers."""

    def __init__(self, key: str, kind: Kind, where: str, nullable: bool = False) -> None:
        self._key, self._code, self._where, self._nullable = key, kind.code, where, nullable
        self._values = array(self._code)
        # Runs of what is there and what is not.
        self._present: list[tuple[bool, int]] = []

    def add(self, records: Records) -> None:
        values = values_of(records, self._key)
        if values is None:
            self.skip(len(records))
        else:
            self.extend(values)

    def skip(self, count: int) -> None:
        """Note that so many records have no value."""
        if not self._nullable:
            raise WrongShape(f"{self._where} holds records without {self._key!r}")
        self._note(False, count)

    def extend(self, values: list[Any]) -> None:
        """Take the values themselves."""
        try:
            self._values += array(self._code, values)
            self._note(True, len(values))
        except (TypeError, OverflowError):
            for known, run in groupby(values, lambda each: each is not None):
                some = list(run)
                self._extend_known(some) if known else self.skip(len(some))

    def take(self) -> Chunk:
        chunk = parquet.plain(self._values, self._present)
        self._values, self._present = array(self._code), []
        return chunk

    def _extend_known(self, values: list[Any]) -> None:
        try:
            self._values += array(self._code, values)
        except (TypeError, OverflowError):
            raise WrongShape(f"{self._key!r} of {self._where} are not all whole numbers that fit") from None
        self._note(True, len(values))

    def _note(self, present: bool, count: int) -> None:
        if self._present and self._present[-1][0] == present:
            count += self._present.pop()[1]
        self._present.append((present, count))


class Sizes(Numbers):
    """Numbers of bytes that a device can have."""

    def extend(self, values: list[Any]) -> None:
        super().extend(values)
        check_sizes(values, self._key, self._where)


def check_sizes(values: Iterable[int | None], key: str, where: str) -> None:
    """Refuse what no device has."""
    largest = max((each for each in values if each is not None), default=0)
    if largest > MOST_BYTES:
        raise WrongShape(f"{key!r} of {where} says {largest} bytes, which no device has")


class Same:
    """One number for every record."""

    def __init__(self, value: int, kind: Kind) -> None:
        self._value, self._kind, self._rows = value, kind, 0

    def add(self, records: Records) -> None:
        self._rows += len(records)

    def take(self) -> Chunk:
        chunk = parquet.constant(self._kind, self._value, self._rows)
        self._rows = 0
        return chunk


class Flags:
    """True or False; False where a record does not say."""

    def __init__(self, key: str, where: str) -> None:
        self._key, self._where = key, where
        self._values: list[bool] = []

    def add(self, records: Records) -> None:
        found = [each or False for each in values_of(records, self._key) or [None] * len(records)]
        if not set(map(type, found)) <= {bool}:
            raise WrongShape(f"{self._key!r} of {self._where} are not all True or False")
        self._values += found

    def take(self) -> Chunk:
        chunk = parquet.flags(self._values)
        self._values = []
        return chunk


class Texts:
    """Texts, few distinct ones; empty for None.

    Args:
        also: other spellings, and what they mean.
        words: the only texts that may stand in it; empty where any may.
    """

    def __init__(
        self, key: str, where: str, room: Room, also: Mapping[str, str] | None = None, words: tuple[str, ...] = ()
    ) -> None:
        self._key, self._where, self._room, self._words = key, where, room, words
        self._also: dict[Any, Any] = {None: ""} | dict(also or {})
        self._distinct: dict[str, int] = {}
        self._numbers: array[int] = array("B")

    def add(self, records: Records) -> None:
        values = values_of(records, self._key) or [None] * len(records)
        if values.count(values[0]) == len(values):
            number = self._number(values[0], len(values))
            self._extend([number], len(values))
            return
        try:
            numbers = {text: self._number(text, count) for text, count in Counter(values).items()}
        except TypeError:
            raise WrongShape(f"{self._key!r} of {self._where} is not always a text") from None
        self._extend(map(numbers.__getitem__, values))

    def take(self) -> Chunk:
        alone = len(self._distinct) == 1
        chunk = parquet.words(self._distinct, None if alone else self._numbers, len(self._numbers))
        self._distinct, self._numbers = {}, array("B")
        return chunk

    def _number(self, value: Any, count: int) -> int:
        text = self._also.get(value, value) if isinstance(value, str | None) else value
        text = check_text(text, f"{self._key!r} of {self._where}", self._room)
        if self._words and text not in self._words:
            raise WrongShape(f"{self._key!r} of {self._where} says {text[:80]!r}; known are {', '.join(self._words)}")
        self._room.chars(len(text) * count)
        return self._distinct.setdefault(text, len(self._distinct))

    def _extend(self, numbers: Iterable[int], times: int = 1) -> None:
        if len(self._distinct) > 256 and self._numbers.typecode == "B":
            self._numbers = array("I", self._numbers)
        self._numbers += array(self._numbers.typecode, numbers) * times


class StackNumbers:
    """Numbers of the frame lists."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks
        self._values = array(parquet.INT32.code)

    def add(self, records: Records) -> None:
        self._values += array(parquet.INT32.code, self._stacks.numbers(values_of(records, "frames") or [None] * len(records)))

    def take(self) -> Chunk:
        chunk = parquet.plain(self._values)
        self._values = array(parquet.INT32.code)
        return chunk


class Pools:
    """The first numbers of pool ids, null where a record has none; `seconds` are the second ones, filled beside them."""

    def __init__(self, key: str, where: str) -> None:
        self._key, self._where = key, where
        self._firsts, self.seconds = (Numbers(key, parquet.INT64, where, nullable=True) for _ in range(2))

    def add(self, records: Records) -> None:
        pairs = values_of(records, self._key)
        if pairs is None:
            self._firsts.skip(len(records))
            self.seconds.skip(len(records))
            return
        if any(each is not None and (type(each) is not tuple or len(each) != 2) for each in pairs):
            raise WrongShape(f"{self._key!r} of {self._where} is not always a pair")
        for half, numbers in enumerate((self._firsts, self.seconds)):
            numbers.extend([None if each is None else each[half] for each in pairs])

    def take(self) -> Chunk:
        return self._firsts.take()


class Filled:
    """A column that another one fills."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def add(self, records: Records) -> None:
        """Nothing: it has been done."""

    def take(self) -> Chunk:
        return self._numbers.take()

"""Columns of events that need more than their own key: where the record stands, and what only an `oom` may do."""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

from profiler.tables import parquet
from profiler.tables.losses import Losses
from profiler.tables.parquet import Chunk
from profiler.tables.snapshot_builders import MOST_BYTES, Numbers, Records, check_sizes, values_of
from profiler.tables.snapshot_layout import ACTIONS
from profiler.tables.snapshot_shape import WrongShape

_NUMBERS = {action: number for number, action in enumerate(ACTIONS)}


class Known(NamedTuple):
    """Events of known actions, their positions in the trace, and the numbers of their actions in `ACTIONS`."""

    records: Records
    places: range | list[int]
    actions: list[int]


def known_events(records: Records, start: int, losses: Losses) -> Known:
    """Events of known actions, `start` being the position of the first record; the others are counted.

    Raises:
        WrongShape: an action that is no text.
    """
    actions: list[Any] = values_of(records, "action") or [None] * len(records)
    try:
        return Known(records, range(start, start + len(records)), list(map(_NUMBERS.__getitem__, actions)))
    except (KeyError, TypeError):
        if not set(map(type, actions)) <= {str}:
            raise WrongShape("the action of an event is not always a text") from None
    for each in actions:
        if each not in _NUMBERS:
            losses.add(f"events of action {each[:80]!r} are not known")
    places = [place for place, each in enumerate(actions) if each in _NUMBERS]
    return Known(
        [records[each] for each in places], [start + each for each in places], [_NUMBERS[actions[each]] for each in places]
    )


class Positions:
    """Positions in the trace; `next` are those of the records that come next."""

    def __init__(self) -> None:
        self.next: range | list[int] = []
        self._values = array(parquet.UINT32.code)

    def add(self, records: Records) -> None:
        self._values += array(parquet.UINT32.code, list(self.next))

    def take(self) -> Chunk:
        chunk = parquet.plain(self._values)
        self._values = array(parquet.UINT32.code)
        return chunk


class Actions:
    """Actions; `next` are the numbers of those of the records that come next."""

    def __init__(self) -> None:
        self.next: list[int] = []
        self._numbers = array("B")

    def add(self, records: Records) -> None:
        self._numbers += array("B", self.next)

    def take(self) -> Chunk:
        chunk = parquet.words(ACTIONS, self._numbers, len(self._numbers))
        self._numbers = array("B")
        return chunk


class EventAddresses(Numbers):
    """Addresses; only an `oom` has none."""

    def add(self, records: Records) -> None:
        values: list[Any] = values_of(records, self._key) or [None] * len(records)
        if None in values and any(value is None and each["action"] != "oom" for value, each in zip(values, records, strict=True)):
            raise WrongShape(f"an event of {self._where} has no {self._key!r}")
        self.extend(values)


class EventSizes(Numbers):
    """Sizes that a device can have; what runs out of memory may have asked for any."""

    def add(self, records: Records) -> None:
        values: list[Any] = values_of(records, self._key) or [None] * len(records)
        self.extend(values)
        if max(values) > MOST_BYTES:
            usual = [value for value, each in zip(values, records, strict=True) if each["action"] != "oom"]
            check_sizes(usual, self._key, self._where)

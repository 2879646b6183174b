"""Columns of events that need more than their own key: where the record stands, and what only an `oom` may do."""

from __future__ import annotations

from array import array
from typing import Any

from profiler.tables import parquet
from profiler.tables.losses import Losses
from profiler.tables.parquet import Chunk
from profiler.tables.snapshot_builders import MOST_BYTES, Numbers, Records, check_sizes, values_of
from profiler.tables.snapshot_layout import ACTIONS
from profiler.tables.snapshot_shape import WrongShape

_ACTIONS = frozenset(ACTIONS)


def known_events(records: Records, start: int, losses: Losses) -> tuple[Records, range | list[int]]:
    """Events of known actions, and their positions, `start` being the first one's; the others are counted.

    Raises:
        WrongShape: an action that is no text.
    """
    try:
        odd = set(values_of(records, "action") or [None]) - _ACTIONS
    except TypeError:
        raise WrongShape("the action of an event is not always a text") from None
    if not odd:
        return records, range(start, start + len(records))
    if set(map(type, odd)) != {str}:
        raise WrongShape("the action of an event is not always a text")
    known = [(place, each) for place, each in enumerate(records, start) if each["action"] in _ACTIONS]
    for each in records:
        if each["action"] in odd:
            losses.add(f"events of action {each['action'][:80]!r} are not known")
    return [each for _, each in known], [place for place, _ in known]


class Positions:
    """Positions in the trace, as `place` is told them before each `add`."""

    def __init__(self) -> None:
        self._places: range | list[int] = []
        self._values = array(parquet.UINT32.code)

    def place(self, places: range | list[int]) -> None:
        """Say where the next records stand."""
        self._places = places

    def add(self, records: Records) -> None:
        self._values += array(parquet.UINT32.code, list(self._places))

    def take(self) -> Chunk:
        chunk = parquet.plain(self._values)
        self._values = array(parquet.UINT32.code)
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

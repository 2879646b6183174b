"""Frame lists as numbered stacks: the same frames are the same stack, shared or not."""

from __future__ import annotations

from itertools import chain
from typing import Any

import polars as pl

from profiler.tables.snapshot_room import Room
from profiler.tables.snapshot_schema import NO_STACK, STACKS
from profiler.tables.snapshot_shape import WrongShape

_MOST_FRAMES = 1 << 15
# Lists that look alike at a glance are compared one by one, up to so many.
_MOST_ALIKE = 64
_Sketch = tuple[int, int, int, int]


class Stacks:
    """Numbers for frame lists. A snapshot has a list for nearly every event and few stacks, whose frames are shared objects:
    lists are told apart by a glance at their frames' identities, then by comparison, which is quick for shared frames.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._alike: dict[_Sketch, list[tuple[list[Any], int]]] = {}
        self._by_identities: dict[tuple[int, ...], int] = {}
        self._frame_by_id: dict[int, int] = {}
        # What is known by its identity must stay alive: the next object may get its place.
        self._alive: list[Any] = []
        self._frames: dict[tuple[Any, ...], int] = {}
        self._chars: list[int] = []
        self._stacks: dict[tuple[int, ...], int] = {}
        # A list of each stack, and what came after it.
        self._examples: list[list[Any]] = []
        self._following: dict[int, int] = {}

    def numbers(self, lists: list[Any]) -> list[int]:
        """The stack of each frame list, `NO_STACK` for None and empty ones.

        Raises:
            WrongShape: something that is no list of frames.
        """
        found: list[int] = []
        add, find, examples, following = found.append, self._find, self._examples, self._following
        last, number = None, NO_STACK
        for frames in lists:
            # The two events of a free share one list, and steps repeat: most stacks follow the one that they followed before.
            if frames is not last:
                last = frames
                guess = following.get(number, NO_STACK)
                if guess >= 0 and examples[guess] == frames:
                    number = guess
                else:
                    before, number = number, find(frames) if frames else NO_STACK
                    following[before] = number
            add(number)
        return found

    def frame(self, rank: int) -> pl.DataFrame:
        """The `stacks` table.

        Raises:
            WrongShape: names that are no texts, or lines that are no numbers.
        """
        stacks = list(self._stacks)
        depths = pl.Series(list(map(len, stacks)), dtype=pl.Int64)
        rows = pl.DataFrame({"depth": depths}).select(
            stack=pl.int_range(pl.len()).repeat_by("depth").explode(), depth=pl.int_ranges(0, "depth").explode()
        )
        numbers = pl.Series(list(chain.from_iterable(stacks)), dtype=pl.UInt32)
        whole = pl.concat([rows, self._known()[numbers]], how="horizontal").with_columns(rank=pl.lit(rank))
        return whole.select(pl.col(name).cast(dtype) for name, dtype in STACKS.dtypes.items())

    def _known(self) -> pl.DataFrame:
        names, files, lines = zip(*self._frames, strict=True) if self._frames else ((), (), ())
        return pl.DataFrame(
            {"name": texts(names, "the name of a frame"), "file": texts(files, "the file of a frame"), "line": _lines(lines)}
        )

    def _find(self, frames: Any) -> int:
        try:
            count = len(frames)
            sketch = count, id(frames[0]), id(frames[count // 3]), id(frames[count // 2])
        except (TypeError, LookupError):
            raise WrongShape(f"frames are a {type(frames).__name__}, not a list") from None
        alike = self._alike.setdefault(sketch, [])
        for known, number in alike:
            if known == frames:
                return number
        return self._add(frames, alike)

    def _add(self, frames: Any, alike: list[tuple[list[Any], int]]) -> int:
        if type(frames) is not list or len(frames) >= _MOST_FRAMES:
            raise WrongShape(f"frames are a {type(frames).__name__} of {len(frames)}")
        if len(alike) < _MOST_ALIKE:
            number = self._number(frames)
            alike.append((frames, number))
            return number
        identities = tuple(map(id, frames))
        if identities not in self._by_identities:
            self._by_identities[identities] = self._number(frames)
        return self._by_identities[identities]

    def _number(self, frames: list[Any]) -> int:
        content = tuple(map(self._frame, frames))
        number = self._stacks.get(content)
        if number is None:
            number = self._stacks[content] = len(self._stacks)
            self._examples.append(frames)
            self._room.frames(len(content))
            self._room.chars(sum(map(self._chars.__getitem__, content)))
        return number

    def _frame(self, frame: Any) -> int:
        number = self._frame_by_id.get(id(frame))
        if number is None:
            try:
                content = frame["name"], frame["filename"], frame["line"]
                chars = len(content[0]), len(content[1])
                number = self._frames.setdefault(content, len(self._frames))
            except (TypeError, LookupError):
                raise WrongShape("a frame is no record of name, filename and line") from None
            self._room.text(max(chars))
            if number == len(self._chars):
                self._chars.append(sum(chars))
            self._frame_by_id[id(frame)] = number
            self._alive.append(frame)
        return number


def texts(values: Any, what: str) -> pl.Series:
    """Strings as a column; what no UTF-8 can hold is replaced.

    Raises:
        WrongShape: something that is no string.
    """
    others = set(map(type, values)) - {str, type(None)}
    if others:
        raise WrongShape(f"{what} is not always a text")
    try:
        return pl.Series(values, dtype=pl.String)
    except UnicodeEncodeError:
        return pl.Series([each and each.encode("utf-8", "replace").decode() for each in values], dtype=pl.String)


def _lines(values: Any) -> pl.Series:
    """A line that Python did not know, -1, is written by torch as an unsigned number."""
    try:
        return pl.Series([line if line < 1 << 63 else line - (1 << 64) for line in values], dtype=pl.Int64)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        raise WrongShape("the line of a frame is not always a number") from None

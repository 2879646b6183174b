"""Frame lists as numbered stacks: the same frames are the same stack, shared or not."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from profiler.tables import parquet
from profiler.tables.parquet import Chunk
from profiler.tables.snapshot_layout import NO_STACK
from profiler.tables.snapshot_room import Room
from profiler.tables.snapshot_shape import WrongShape

_MOST_FRAMES = 1 << 15
_LINES = 1 << 63
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
        self._frames: dict[tuple[str, str, int], int] = {}
        self._contents: list[tuple[str, str, int]] = []
        self._chars: list[int] = []
        self._stacks: dict[tuple[int, ...], int] = {}
        # A list of each stack, and the last two that followed it.
        self._examples: list[list[Any]] = []
        self._latest: dict[int, int] = {}
        self._other: dict[int, int] = {}

    def numbers(self, lists: list[Any]) -> list[int]:
        """The stack of each frame list, `NO_STACK` for None and empty ones.

        Raises:
            WrongShape: something that is no list of frames.
        """
        found: list[int] = []
        add, find, examples, latest, other = found.append, self._find, self._examples, self._latest, self._other
        last, number = None, NO_STACK
        for frames in lists:
            # The two events of a free share one list, and steps repeat: nearly every stack follows one of two.
            if frames is not last:
                last = frames
                before, guess = number, latest.get(number, NO_STACK)
                if guess >= 0 and examples[guess] == frames:
                    number = guess
                else:
                    second = other.get(before, NO_STACK)
                    other[before] = guess
                    right = second >= 0 and examples[second] == frames
                    number = second if right else find(frames) if frames else NO_STACK
                    latest[before] = number
            add(number)
        return found

    def chunks(self, rank: int, rows: int) -> Iterator[dict[str, Chunk]]:
        """The `stacks` table, at least `rows` rows at a time but for the last."""
        depths: list[int] = []
        stacks: list[int] = []
        frames: list[int] = []
        for stack, content in enumerate(self._stacks):
            stacks += repeat(stack, len(content))
            depths += range(len(content))
            frames += content
            if len(frames) >= rows:
                yield self._chunk(rank, stacks, depths, frames)
                stacks, depths, frames = [], [], []
        if frames:
            yield self._chunk(rank, stacks, depths, frames)

    def _chunk(self, rank: int, stacks: list[int], depths: list[int], frames: list[int]) -> dict[str, Chunk]:
        names, files, lines = zip(*map(self._contents.__getitem__, frames), strict=True)
        return {
            "stack": parquet.plain(array(parquet.INT32.code, stacks)),
            "depth": parquet.plain(array(parquet.INT16.code, depths)),
            "name": _words(names),
            "file": _words(files),
            "line": parquet.plain(array(parquet.INT64.code, lines)),
            "rank": parquet.constant(parquet.INT32, rank, len(frames)),
        }

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
            number = self._frame_number(frame)
            self._frame_by_id[id(frame)] = number
            self._alive.append(frame)
        return number

    def _frame_number(self, frame: Any) -> int:
        try:
            name, file, line = frame["name"], frame["filename"], frame["line"]
        except (TypeError, LookupError):
            raise WrongShape("a frame is no record of name, filename and line") from None
        content = (
            check_text(name, "the name of a frame", self._room),
            check_text(file, "the file of a frame", self._room),
            _line(line),
        )
        number = self._frames.setdefault(content, len(self._frames))
        if number == len(self._contents):
            self._contents.append(content)
            self._chars.append(len(content[0]) + len(content[1]))
        return number


def check_text(value: Any, what: str, room: Room) -> str:
    """The same text; what no UTF-8 can hold is replaced.

    Raises:
        WrongShape: no text, or one that is too long.
    """
    if type(value) is not str:
        raise WrongShape(f"{what} is not always a text")
    room.text(len(value))
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _line(value: Any) -> int:
    """A line that Python did not know, -1, is written by torch as an unsigned number."""
    if type(value) is not int or not -_LINES <= value < 2 * _LINES:
        raise WrongShape("the line of a frame is not always a number")
    return value if value < _LINES else value - 2 * _LINES


def _words(texts: tuple[str, ...]) -> Chunk:
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return parquet.words(numbers, array("I", map(numbers.__getitem__, texts)), len(texts))

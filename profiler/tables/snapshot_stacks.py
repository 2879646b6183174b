"""Frame lists as numbered stacks: the same frames are the same stack, shared or not."""

from __future__ import annotations

from itertools import chain
from typing import Any

import polars as pl

from profiler.tables.snapshot_schema import NO_STACK, STACKS
from profiler.tables.snapshot_shape import WrongShape

_MOST_FRAMES = 1 << 15


class Stacks:
    """Numbers for frame lists. The lists and frames that were numbered must stay alive: they are known by identity first."""

    def __init__(self) -> None:
        self._by_list: dict[int, int] = {}
        self._by_frames: dict[tuple[int, ...], int] = {}
        self._frame_by_id: dict[int, int] = {}
        self._frame_by_content: dict[tuple[Any, ...], int] = {}
        self._stacks: dict[tuple[int, ...], int] = {}

    def numbers(self, lists: list[Any]) -> list[int]:
        """The stack of each frame list, `NO_STACK` for None and empty ones.

        Raises:
            WrongShape: something that is no list of frames.
        """
        ids = list(map(id, lists))
        for key, frames in dict(zip(ids, lists, strict=True)).items():
            if key not in self._by_list:
                self._by_list[key] = self._number(frames)
        return list(map(self._by_list.__getitem__, ids))

    def frame(self, rank: int) -> pl.DataFrame:
        """The `stacks` table."""
        stacks = list(self._stacks)
        names, files, lines = zip(*self._frame_by_content, strict=True) if self._frame_by_content else ((), (), ())
        depths = pl.Series(list(map(len, stacks)), dtype=pl.Int64)
        frames = pl.Series(list(chain.from_iterable(stacks)), dtype=pl.UInt32)
        known = pl.DataFrame(
            {"name": texts(names, "name of a frame"), "file": texts(files, "file of a frame"), "line": _lines(lines)}
        )
        rows = pl.DataFrame({"depth": depths}).select(
            stack=pl.int_range(pl.len()).repeat_by("depth").explode(), depth=pl.int_ranges(0, "depth").explode()
        )
        whole = pl.concat([rows, known[frames]], how="horizontal").with_columns(rank=pl.lit(rank))
        return whole.select(pl.col(name).cast(dtype) for name, dtype in STACKS.dtypes.items())

    def _number(self, frames: Any) -> int:
        if not frames:
            return NO_STACK
        if type(frames) is not list:
            raise WrongShape(f"frames are a {type(frames).__name__}, not a list")
        shared = tuple(map(id, frames))
        if shared not in self._by_frames:
            if len(frames) >= _MOST_FRAMES:
                raise WrongShape(f"a stack of {len(frames)} frames, more than {_MOST_FRAMES}")
            content = tuple(map(self._frame, frames))
            self._by_frames[shared] = self._stacks.setdefault(content, len(self._stacks))
        return self._by_frames[shared]

    def _frame(self, frame: Any) -> int:
        number = self._frame_by_id.get(id(frame))
        if number is None:
            try:
                content = frame["name"], frame["filename"], frame["line"]
                number = self._frame_by_content.setdefault(content, len(self._frame_by_content))
            except (TypeError, LookupError):
                raise WrongShape("a frame is no record of name, filename and line") from None
            self._frame_by_id[id(frame)] = number
        return number


def texts(values: Any, what: str) -> pl.Series:
    """Strings as a column; what no UTF-8 can hold is replaced.

    Raises:
        WrongShape: something that is no string.
    """
    try:
        return pl.Series(values, dtype=pl.String)
    except UnicodeEncodeError:
        return pl.Series([each.encode("utf-8", "replace").decode() for each in values], dtype=pl.String)
    except (TypeError, pl.exceptions.PolarsError):
        raise WrongShape(f"the {what} is not always a text") from None


def _lines(values: Any) -> pl.Series:
    """A line that Python did not know, -1, is written by torch as an unsigned number."""
    try:
        return pl.Series([line if line < 1 << 63 else line - (1 << 64) for line in values], dtype=pl.Int64)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        raise WrongShape("the line of a frame is not always a number") from None

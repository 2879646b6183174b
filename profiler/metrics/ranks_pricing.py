"""What becomes of the waiting for another rank in untraced time: the same as of what that rank took longer for.

Between two collectives both ranks compute and idle, and one waits for the rest. As far as the other rank was idle for longer,
held up by its own host, recording held it up too: so much of the wait gives up what that idle time does. The rest is work that
took the other rank longer, and stands like any busy time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from profiler.metrics.ledger_recording import Marks
from profiler.metrics.ledger_segments import BUSY, SEGMENT, WAITING_FOR_RANK, Cut
from profiler.metrics.ranks_cut import flat, overlay
from profiler.metrics.ranks_waits import Waits
from profiler.tables.trace import TraceTables

_HELD = {"start_ns": pl.Int64, "end_ns": pl.Int64, "marks": pl.Float64}
# A rank that less of all waiting is for is not looked at: its cut would have to be made for that.
_LEAST = 0.1
_Stretch = tuple[int, float]
"""Length in ns, marks in it."""


class SharedMarks(Marks):
    """Marks of a rank, and those of others that its waiting for them has.

    Args:
        held: start_ns, end_ns, marks of each stretch of waiting for idle time of another rank.
        standing: numbers of the labels of waiting for its work.
    """

    def __init__(self, trace: TraceTables, held: pl.DataFrame, standing: frozenset[int]) -> None:
        super().__init__(trace)
        self._held, self._standing = held.sort("start_ns"), standing

    def within(self, segments: pl.DataFrame, labels: pl.DataFrame) -> pl.Series:
        """As in Marks; of a part of a stretch of waiting that part of the other rank's."""
        waiting = labels.filter(pl.col("label") == WAITING_FOR_RANK)["number"].implode()
        placed = segments.select("start_ns", "end_ns", "number").with_row_index("row").sort("start_ns")
        found = placed.join_asof(
            self._held, on="start_ns", strategy="backward", suffix="_held", coalesce=False, check_sortedness=False
        )
        inside = pl.col("number").is_in(waiting) & (pl.col("start_ns") < pl.col("end_ns_held"))
        share = (pl.col("end_ns") - pl.col("start_ns")) / (pl.col("end_ns_held") - pl.col("start_ns_held"))
        theirs = found.select("row", pl.when(inside).then(pl.col("marks") * share).fill_null(0.0).alias("marks")).sort("row")
        return super().within(segments, labels) + theirs["marks"]

    def stands(self, segments: pl.DataFrame) -> pl.Series:
        """Whether each segment is waiting for another rank's work."""
        return segments["number"].is_in(list(self._standing))


@dataclass(frozen=True)
class _Idle:
    """A rank's own idle time: segments in order of their starts, and the marks in each."""

    starts: list[int]
    ends: list[int]
    marks: list[float]

    def latest(self, start: int, end: int) -> Iterator[_Stretch]:
        """What lies between two times, the last one first."""
        for index in range(bisect_left(self.starts, end) - 1, bisect_right(self.ends, start) - 1, -1):
            length = self.ends[index] - self.starts[index]
            inside = min(end, self.ends[index]) - max(start, self.starts[index])
            yield inside, self.marks[index] * inside / length


def beside_others(
    trace: TraceTables, rank: int, cut: Cut, known: Waits, other: Callable[[int], tuple[Cut, Marks]]
) -> tuple[Cut, Marks]:
    """A rank's cut with its waiting cut once more, by why the rank that is waited for came later, and the marks of both.

    Args:
        cut: of `ranks_cut.with_ranks`.
        other: the cut and the marks of a rank; asked only for those that much of the waiting is for.
    """
    held, standing, mine = [pl.DataFrame(schema=_HELD)], set[int](), _idle(cut, None)
    for late, numbers in _waited_for(cut).items():
        number = cut.labels.select(pl.col("number").cast(pl.Int64).max() + 1).item()
        stretches = _stretches(_Gaps(known, rank, mine), _Gaps(known, late, _idle(*other(late))), known.of(rank), late)
        cut, pieces = _split(cut, numbers, number, known.of(rank), stretches)
        held.append(pieces)
        standing.add(number)
    return cut, SharedMarks(trace, pl.concat(held), frozenset(standing))


def _idle(cut: Cut, marks: Marks | None) -> _Idle:
    own = (pl.col("kind") != BUSY) & (pl.col("label") != WAITING_FOR_RANK)
    numbers = cut.labels.filter(own)["number"].implode()
    found = cut.segments.filter(pl.col("number").is_in(numbers) & (pl.col("end_ns") > pl.col("start_ns"))).sort("start_ns")
    counts = marks.within(found, cut.labels).cast(pl.Float64).to_list() if marks else [0.0] * found.height
    return _Idle(found["start_ns"].to_list(), found["end_ns"].to_list(), counts)


def _waited_for(cut: Cut) -> dict[int, list[int]]:
    """The ranks that much of the waiting is for, and the numbers of it."""
    named = cut.segments.join(cut.labels.filter(pl.col("label") == WAITING_FOR_RANK), on="number")
    length = (pl.col("end_ns") - pl.col("start_ns")).sum().alias("ns")
    sums = named.group_by("detail").agg(length, pl.col("number").unique().sort()).sort("detail")
    much = sums.filter((pl.col("ns") > 0) & (pl.col("ns") >= _LEAST * pl.col("ns").sum()))
    return {int(detail.removeprefix("rank ")): numbers for detail, numbers in much.select("detail", "number").iter_rows()}


class _Gaps:
    """What a rank idles between its collectives."""

    def __init__(self, known: Waits, rank: int, idle: _Idle) -> None:
        shared = known.of(rank).filter(pl.col("key").is_not_null())
        before = pl.col("end_ns").cum_max().shift(1).fill_null(pl.col("start_ns").first() - (1 << 62))
        found = shared.select("key", pl.min_horizontal(before, "start_ns").alias("from_ns"), "start_ns")
        self._spans = {key: (start, end) for key, start, end in found.iter_rows()}
        self._idle = idle

    def before(self, key: str) -> list[_Stretch]:
        """Before a collective, since the one before it; the last stretch first."""
        return list(self._idle.latest(*self._spans[key])) if key in self._spans else []


def _stretches(mine: _Gaps, theirs: _Gaps, calls: pl.DataFrame, late: int) -> dict[int, list[_Stretch]]:
    """By the start of a call that waits: the idle stretches that the late rank had more than this one."""
    found = {}
    for key, start in calls.filter(pl.col("for_rank") == late).select("key", "start_ns").iter_rows():
        longer = theirs.before(key)
        excess = sum(length for length, _ in longer) - sum(length for length, _ in mine.before(key))
        found[start] = list(_first(longer, excess))
    return found


def _first(stretches: list[_Stretch], room: int) -> Iterator[_Stretch]:
    """As many of them as have room, the last one cut."""
    for length, marks in stretches:
        if room <= 0:
            return
        taken = min(length, room)
        yield taken, marks * taken / length
        room -= taken


def _split(
    cut: Cut, numbers: list[int], standing: int, calls: pl.DataFrame, stretches: dict[int, list[_Stretch]]
) -> tuple[Cut, pl.DataFrame]:
    """The cut with the waiting of some numbers split: what is not laid to a stretch is of the number `standing`."""
    waits = cut.segments.filter(pl.col("number").is_in(numbers)).sort("start_ns")
    # What a row counts is distinct host calls: the parts of a wait without one stay one.
    whole = waits.with_columns(pl.coalesce("host_ns", "start_ns").alias("host_ns"))
    held_calls = calls.filter(pl.col("for_rank").is_not_null()).select("start_ns", "until_ns", pl.col("start_ns").alias("of"))
    left = defaultdict(list, {start: list(reversed(each)) for start, each in stretches.items()})
    made: list[tuple[int, int, int, int]] = []
    held: list[tuple[int, int, float]] = []
    for start, end, number, began, of in overlay(whole.rows(), flat(held_calls.iter_rows())):
        clock, waiting = start, left[of] if isinstance(of, int) else []
        while waiting and clock < end:
            length, marks = waiting.pop()
            until = min(end, clock + length)
            made.append((clock, until, number, began))
            held.append((clock, until, marks * (until - clock) / length))
            if until - clock < length:
                waiting.append((length - (until - clock), marks * (length - (until - clock)) / length))
            clock = until
        if clock < end or start == end:
            made.append((clock, end, standing, began))
    like = cut.labels.filter(pl.col("number") == numbers[0]).with_columns(pl.lit(standing, pl.UInt32).alias("number"))
    rest = cut.segments.filter(~pl.col("number").is_in(numbers))
    pieces = pl.concat([rest, pl.DataFrame(made, schema=SEGMENT, orient="row")])
    return Cut(pieces, pl.concat([cut.labels, like]), cut.waits), pl.DataFrame(held, schema=_HELD, orient="row")

"""Communication in the ledger of one rank of several: what computation does not hide, and what of it was waiting for another.

Here computation owns every instant that it shares with a collective, whichever began first: a hidden collective costs nothing.
What is left of a collective is busy time from the moment that the last rank had come, and idle time before: it waited for that
rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from profiler.metrics.classes import COMMUNICATION, OTHER, classify_gpu
from profiler.metrics.host_states import PROFILER_OVERHEAD
from profiler.metrics.ledger_segments import BUSY, IDLE, LABEL, SEGMENT, WAITING_FOR_RANK, Cut, joined
from profiler.metrics.ranks_collectives import communication_names

Span = tuple[int, int]
_NO_WAITS = pl.DataFrame()
# Operators in which the main thread waits for a collective; any other of c10d only begins one.
_AWAITS = re.compile("wait|barrier")


def with_ranks(cut: Cut, events: pl.DataFrame, calls: pl.DataFrame) -> Cut:
    """A rank's cut with its communication split.

    Args:
        cut: of `ledger_gpu` or `ledger_cpu`.
        events: of `gpu_timeline.device_events`; empty on a CPU.
        calls: of `ranks_waits.Waits.of`.
    """
    if events.is_empty():
        return _on_host(cut, calls)
    busy = cut.labels.filter(pl.col("kind") == BUSY)["number"]
    rest = Cut(cut.segments.filter(~pl.col("number").is_in(busy.implode())), cut.labels, cut.waits)
    return joined(on_device(events, calls), rest)


def on_device(events: pl.DataFrame, calls: pl.DataFrame) -> Cut:
    """The busy segments of `device_events`, and the waiting ones; together the union of all streams."""
    names = events.select("name", "cat").unique(maintain_order=True).with_row_index("number")
    labels = [(number, BUSY, classify_gpu(name, cat), name, "") for number, name, cat in names.iter_rows()]
    talking = pl.col("name").is_in(communication_names(events)) & (pl.col("cat") == "kernel")
    numbered = events.join(names, on=["name", "cat"], maintain_order="left")
    computed = _owned(numbered.filter(~talking))
    talk = _owned(numbered.filter(talking))
    exposed = list(_outside(talk.rows(), _spans(touching(computed, _spans(talk)))))
    pieces, more = _waiting(exposed, calls, len(labels))
    return Cut(pl.concat([computed, pieces]), pl.DataFrame([*labels, *more], schema=LABEL, orient="row"), _NO_WAITS)


def _on_host(cut: Cut, calls: pl.DataFrame) -> Cut:
    """On a CPU a collective runs in a thread of its own: the main thread's idle time beside it is the collective's.

    What the main thread takes to begin one, before that thread has, is host work like any operator's: the rank has not come yet.
    """
    kind, label = pl.col("kind"), pl.col("label")
    numbers = cut.labels.filter((label == COMMUNICATION) | ((kind == IDLE) & (label != PROFILER_OVERHEAD)))
    taken = cut.segments.filter(pl.col("number").is_in(numbers["number"].implode()))
    own = dict(cut.labels.filter(label == COMMUNICATION).select("number", "detail").iter_rows())
    names = {name: cut.labels.height + index for index, name in enumerate(sorted(set(calls["name"])))}
    begins = [] if calls.is_empty() else [number for number, detail in own.items() if not _AWAITS.search(detail)]
    outside = {number: cut.labels.height + len(names) + index for index, number in enumerate(begins)}
    spans = flat(calls.select("start_ns", "end_ns", "name").iter_rows())
    rows = [
        (start, end, outside.get(number, number) if name is None else number if number in own else names[name], host)
        for start, end, number, host, name in overlay(taken.rows(), spans)
    ]
    talks = own.keys() | names.values()
    labels = [(number, BUSY, COMMUNICATION, name, "") for name, number in names.items()]
    labels += [(number, BUSY, OTHER, own[of], "") for of, number in outside.items()]
    pieces, more = _waiting([row for row in rows if row[2] in talks], calls, cut.labels.height + len(labels))
    quiet = pl.DataFrame([row for row in rows if row[2] not in talks], schema=SEGMENT, orient="row")
    kept = cut.segments.filter(~pl.col("number").is_in(numbers["number"].implode()))
    every = pl.concat([cut.labels, pl.DataFrame([*labels, *more], schema=LABEL, orient="row")])
    return Cut(pl.concat([kept, quiet, pieces]), every, cut.waits)


def _waiting(
    rows: Sequence[tuple[int, ...]], calls: pl.DataFrame, first: int
) -> tuple[pl.DataFrame, list[tuple[int, str, str, str, str]]]:
    """Communication (rows of SEGMENT) with what waited for a rank under a number of its own, from `first`; and those labels."""
    held = calls.filter(pl.col("for_rank").is_not_null())
    numbers = {rank: first + index for index, rank in enumerate(sorted(set(held["for_rank"])))}
    spans = flat(held.select("start_ns", "until_ns", "for_rank").iter_rows())
    pieces = [
        (start, end, number if rank is None else numbers[rank], host) for start, end, number, host, rank in overlay(rows, spans)
    ]
    labels = [(number, IDLE, WAITING_FOR_RANK, f"rank {rank}", "") for rank, number in numbers.items()]
    return pl.DataFrame(pieces, schema=SEGMENT, orient="row"), labels


def _owned(events: pl.DataFrame) -> pl.DataFrame:
    """Events of `device_events` as segments, as if there were no others: each begins where those before it have ended, and is of
    no length where it ran wholly beside another."""
    frontier = pl.col("end_ns").cum_max().shift(1)
    own = pl.max_horizontal("start_ns", frontier)
    start = pl.min_horizontal(own, "end_ns").alias("start_ns")
    found = events.select(start, "end_ns", "number", pl.col("launch_ns").alias("host_ns"))
    return found.select(pl.col(name).cast(dtype) for name, dtype in SEGMENT.items())


def _spans(segments: pl.DataFrame) -> list[Span]:
    """Where segments (disjoint but for those of no length) lie, joined where they touch."""
    longer = segments.filter(pl.col("end_ns") > pl.col("start_ns")).sort("start_ns")
    begins = (pl.col("start_ns") > pl.col("end_ns").shift(1)).fill_null(True).cum_sum().alias("block")
    blocks = longer.with_columns(begins).group_by("block", maintain_order=True)
    return blocks.agg(pl.col("start_ns").min(), pl.col("end_ns").max()).select("start_ns", "end_ns").rows()


def _outside(rows: Iterable[tuple[int, ...]], taken: list[Span]) -> Iterator[tuple[int, ...]]:
    """The parts of segments outside the taken spans; one of no length where nothing is left, so that it is counted."""
    marked = overlay(sorted(rows, key=lambda row: (row[0], row[1])), [(start, end, True) for start, end in taken])
    left: dict[tuple[int, int | None], bool] = {}
    for start, end, number, host, hidden in marked:
        if not hidden:
            left[number, host] = True
            yield start, end, number, host
        elif (number, host) not in left:
            left[number, host] = True
            yield start, start, number, host


def touching(segments: pl.DataFrame, spans: Sequence[tuple[int, int] | tuple[int, int, object]]) -> pl.DataFrame:
    """The segments that share time with spans (in order, disjoint): of a long trace few do, and only they are walked through."""
    if not spans:
        return segments.clear()
    starts, ends = (pl.Series([each[side] for each in spans], dtype=pl.Int64) for side in (0, 1))
    before = starts.search_sorted(segments["end_ns"], side="left").cast(pl.Int64) - 1
    until = ends.gather(before.clip(lower_bound=0))
    return segments.filter((before >= 0) & (until > segments["start_ns"]))


def flat(spans: Iterable[tuple[int, int, object]]) -> list[tuple[int, int, object]]:
    """Spans with a value, in order of their starts, made disjoint: what two share is the first one's."""
    found: list[tuple[int, int, object]] = []
    clock: int | None = None
    for start, end, value in spans:
        begin = start if clock is None else max(start, clock)
        if end > begin:
            found.append((begin, end, value))
            clock = end
    return found


def overlay(
    rows: Iterable[Sequence[int]], spans: Sequence[tuple[int, int, object]]
) -> Iterator[tuple[int, int, int, int, object]]:
    """Segments (start, end, number, host; in order, disjoint) cut at the edges of spans (in order, disjoint), each part with the
    value of the span that it lies in, or None."""
    first = 0
    for start, end, number, host in rows:
        if start == end:
            yield start, end, number, host, None
            continue
        while first < len(spans) and spans[first][1] <= start:
            first += 1
        clock, index = start, first
        while index < len(spans) and spans[index][0] < end:
            begin, until, value = spans[index]
            if begin > clock:
                yield clock, begin, number, host, None
            yield max(begin, clock), min(until, end), number, host, value
            clock = min(until, end)
            index += 1
        if clock < end:
            yield clock, end, number, host, None

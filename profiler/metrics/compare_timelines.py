"""Memory timelines of several runs that can be laid over each other: the same stretch of each call stands in the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.metrics.main_rank import memory_rank
from profiler.metrics.memory import MemoryTimeline, timeline
from profiler.metrics.windows import DECODE, STEP, TEXT
from profiler.tables.run import Run

# Points that each stretch of a call gets, whatever it takes: runs of other speed stay beside each other.
STRETCHES = {TEXT: 8, STEP: 32, DECODE: 16}
_CALL = "call"


@dataclass(frozen=True)
class Overlaid:
    """The timeline of one run.

    Args:
        points: one an equal part of a stretch: stretch (text, step, decode; call where a run marks none), time_ms (where the part
            begins, from the start of the first stretch), live_bytes (the highest in it).
        lower_bound: why bytes are only lower bounds, or None.
        not_compared: why there are no points, or None.
    """

    run: str
    points: list[dict[str, Any]]
    lower_bound: str | None = None
    not_compared: str | None = None


def overlay(runs: Sequence[Run]) -> list[Overlaid]:
    """One timeline a run, in their order; of several ranks that of the one that needs most."""
    return [_overlaid(run) for run in runs]


def _overlaid(run: Run) -> Overlaid:
    try:
        found = timeline(run, memory_rank(run))
    except UnreadableInput as error:
        return Overlaid(str(run.path), [], not_compared=error.message)
    spans = _stretches(found)
    first = min((start for _, start, _ in spans), default=0)
    points = [point for stretch in spans for point in _points(found.total, *stretch, first)]
    return Overlaid(str(run.path), points, found.lower_bound or None, None if points else "no memory event lies in a window")


def _stretches(found: MemoryTimeline) -> list[tuple[str, int, int]]:
    """(name, start, end) in us of text encoding, all steps together, decoding; of everything where none is marked."""
    spans = []
    for name in STRETCHES:
        rows = found.windows.filter(pl.col("name") == name)
        if rows.height:
            spans.append((name, int(rows["start_us"].min()), int(rows["end_us"].max())))  # type: ignore[arg-type]
    if spans or found.total.is_empty():
        return spans
    start, end = found.total.select(pl.col("time_us").min().alias("a"), pl.col("time_us").max().alias("b")).row(0)
    return [(_CALL, start, end + 1)]


def _points(total: pl.DataFrame, name: str, start: int, end: int, first: int) -> list[dict[str, Any]]:
    """The highest live bytes in each part; what lives on from before a part counts in it."""
    parts = STRETCHES.get(name, sum(STRETCHES.values()))
    length = max(1, min(end, int(total["time_us"].max() or end) + 1) - start)  # type: ignore[arg-type]
    part = ((pl.col("time_us") - start) * parts // length).clip(-1, parts).alias("part")
    held = total.select(part, pl.max_horizontal("live_bytes", pl.col("live_bytes").shift(1)).alias("held"), "live_bytes")
    highest = dict(held.group_by("part").agg(pl.col("held").max()).iter_rows())
    last = dict(held.group_by("part", maintain_order=True).agg(pl.col("live_bytes").last()).iter_rows())
    points, live = [], last.get(-1, 0)
    for number in range(parts):
        points.append(
            {
                "stretch": name,
                "time_ms": (start - first + length * number / parts) / 1e3,
                "live_bytes": highest.get(number, live),
            }
        )
        live = last.get(number, live)
    return points

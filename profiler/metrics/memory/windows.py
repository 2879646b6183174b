"""Windows of a part's memory events: text encoding, each step, decoding, the call; and the phases of the run around them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from profiler.metrics.memory.nested import Range, innermost, named_at
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest

WINDOWS = {"name": pl.String, "index": pl.Int64, "label": pl.String, "start_us": pl.Int64, "end_us": pl.Int64}
# Labels of the windows of a call.
CALL_WINDOW = r"^(text|decode|call|step/\d+)$"
_FOREVER = 1 << 62


def marked_windows(marks: pl.DataFrame) -> pl.DataFrame:
    """The windows of `source.Recording.marks`: name, index (from 0, for each name), label ("step/0"), start_us, end_us.

    In order of start; one without an end never ends.
    """
    rows = sorted((start, end, label) for label, start, end in _closed(marks) if re.match(CALL_WINDOW, label))
    frame = pl.DataFrame([(label, start, end) for start, end, label in rows], schema=_RANGE, orient="row")
    named = frame.with_columns(pl.col("label").str.extract(r"^(\w+)").alias("name"))
    return named.with_columns(pl.int_range(pl.len()).over("name").alias("index")).select(
        pl.col(name).cast(dtype) for name, dtype in WINDOWS.items()
    )


_RANGE = {"label": pl.String, "start_us": pl.Int64, "end_us": pl.Int64}


def _closed(marks: pl.DataFrame) -> Iterator[tuple[str, int, int]]:
    """Starts and ends, joined by name."""
    begun: dict[str, list[int]] = {}
    for time_us, stage, name in marks.sort("time_us", maintain_order=True).select("time_us", "stage", "name").iter_rows():
        label = name.removeprefix(layout.MARK_PREFIX)
        if stage == "START":
            begun.setdefault(label, []).append(time_us)
        elif begun.get(label):
            yield label, begun[label].pop(), time_us
    yield from ((label, start, _FOREVER) for label, starts in begun.items() for start in starts)


def label_events(events: pl.DataFrame, windows: pl.DataFrame, manifest: Manifest) -> pl.DataFrame:
    """`events` (with `time_us`) with a column `window`: the innermost window's label, else the run's phase, else ""."""
    spans: list[Range] = [(0, *row) for row in windows.select("start_us", "end_us", "label").iter_rows()]
    timed = events.with_columns(pl.lit(0, pl.Int64).alias("thread"))
    marked = named_at(timed, innermost(spans), "time_us", "window")
    phased = named_at(marked, innermost(_phases(manifest)), "time_us", "phase")
    window = pl.when(pl.col("window") != "").then("window").otherwise("phase")
    return phased.with_columns(window.alias("window")).drop("thread", "phase")


def _phases(manifest: Manifest) -> list[Range]:
    """Phases as ranges in microseconds; the one in which a run died never ends."""
    ends = [_FOREVER if each.end_ns is None else each.end_ns // 1000 + 1 for each in manifest.phases]
    return [(0, each.start_ns // 1000, end, each.name) for each, end in zip(manifest.phases, ends, strict=True)]

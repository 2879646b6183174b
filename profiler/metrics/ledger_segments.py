"""Segments of the ledger: stretches of time, each with the number of a label; labels stand in a table of their own, since a
million segments share a few hundred."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from profiler.metrics.host_states import PYTHON_BETWEEN, State
from profiler.metrics.window_pattern import REGION
from profiler.metrics.windows import STEP
from profiler.tables import schema
from profiler.tables.trace import TraceTables

BUSY, IDLE = "busy", "idle"
PYTHON_BETWEEN_STEPS = "Python between steps"
# In a run of several ranks; the detail says which.
WAITING_FOR_RANK = "waiting for a slower rank"

SEGMENT = {"start_ns": pl.Int64, "end_ns": pl.Int64, "number": pl.UInt32, "host_ns": pl.Int64}
LABEL = {"number": pl.UInt32, "kind": pl.String, "label": pl.String, "detail": pl.String, "region": pl.String}


@dataclass(frozen=True)
class Cut:
    """A trace cut into labelled stretches.

    Args:
        segments: columns of SEGMENT, disjoint; of no length where a kernel ran wholly beside another.
        labels: columns of LABEL, one row a number.
        waits: every host wait, see `ledger.Ledger`.
    """

    segments: pl.DataFrame
    labels: pl.DataFrame
    waits: pl.DataFrame

    def ids(self) -> pl.DataFrame:
        """The labels with `id`: kind, label and detail in one text."""
        detail = pl.col("detail").replace("", None)
        return self.labels.with_columns(pl.concat_str("kind", "label", detail, separator="/", ignore_nulls=True).alias("id"))


def of_states(pieces: pl.DataFrame, states: list[State], waits: pl.DataFrame) -> Cut:
    """Pieces (start_ns, end_ns, state, host_ns) with the states that they number."""
    rows = [(n, BUSY if each.busy else IDLE, each.label, each.detail, each.region) for n, each in enumerate(states)]
    segments = pieces.rename({"state": "number"}).select(pl.col(name).cast(kind) for name, kind in SEGMENT.items())
    return Cut(segments, pl.DataFrame(rows, schema=LABEL, orient="row"), waits)


def joined(first: Cut, second: Cut) -> Cut:
    """Both, with the numbers of the second made distinct; the waits of the second."""
    shift = pl.col("number") + pl.lit(first.labels.height, pl.UInt32)
    labels = pl.concat([first.labels, second.labels.with_columns(shift)])
    return Cut(pl.concat([first.segments, second.segments.with_columns(shift)]), labels, second.waits)


def with_python_places(trace: TraceTables, cut: Cut, windows: pl.DataFrame) -> Cut:
    """Python between operators: between which compiled regions; outside all steps it is `Python between steps`."""
    numbers = cut.labels.filter(pl.col("label") == PYTHON_BETWEEN)["number"].to_list()
    is_python = pl.col("number").is_in(numbers)
    marked = _between_steps(cut.segments.filter(is_python), windows)
    placed = _between_regions(trace, marked)
    kinds = placed.select("label", "detail").unique(maintain_order=True).with_row_index("number")
    labels = kinds.select("number", pl.lit(IDLE).alias("kind"), "label", "detail", pl.lit("").alias("region"))
    python = placed.join(kinds, on=["label", "detail"], maintain_order="left").select(list(SEGMENT))
    rest = Cut(cut.segments.filter(~is_python), cut.labels, cut.waits)
    return joined(rest, Cut(python, labels.cast({"number": pl.UInt32}), cut.waits))


def _between_steps(python: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """With `label`: cut at the ends of steps on the host, what lies between two of them has a label of its own."""
    steps = windows.filter(pl.col("name") == STEP).sort("host_start_ns")
    outside = steps.select(pl.col("host_end_ns").alias("from_ns"), pl.col("host_start_ns").shift(-1).alias("until_ns"))
    parts: list[pl.DataFrame] = []
    clock: int | None = None
    for start, end in outside.filter(pl.col("until_ns") > pl.col("from_ns")).iter_rows():
        parts += [_within(python, clock, start, PYTHON_BETWEEN), _within(python, start, end, PYTHON_BETWEEN_STEPS)]
        clock = end
    return pl.concat([*parts, _within(python, clock, None, PYTHON_BETWEEN)])


def _within(python: pl.DataFrame, start: int | None, end: int | None, label: str) -> pl.DataFrame:
    bounded = python
    if start is not None:
        bounded = bounded.with_columns(pl.max_horizontal("start_ns", pl.lit(start)).alias("start_ns"))
    if end is not None:
        bounded = bounded.with_columns(pl.min_horizontal("end_ns", pl.lit(end)).alias("end_ns"))
    return bounded.filter(pl.col("end_ns") > pl.col("start_ns")).drop("number").with_columns(pl.lit(label).alias("label"))


def _between_regions(trace: TraceTables, python: pl.DataFrame) -> pl.DataFrame:
    """With `detail`, `0/0 > 1/1`: the compiled regions before and after, where the trace has any."""
    spans = trace.lazy("host").filter((pl.col("cat") == schema.CPU_OP) & pl.col("name").str.starts_with(REGION))
    short = pl.col("name").str.strip_prefix(REGION)
    regions = spans.select(short.alias("id"), "ts_ns", (pl.col("ts_ns") + pl.col("dur_ns")).alias("until_ns")).collect()
    if regions.is_empty():
        return python.with_columns(pl.lit("").alias("detail"))
    before = regions.sort("until_ns").select(pl.col("until_ns"), pl.col("id").alias("before"))
    after = regions.sort("ts_ns").select("ts_ns", pl.col("id").alias("after"))
    ordered = python.sort("start_ns")
    left = ordered.join_asof(before, left_on="start_ns", right_on="until_ns", strategy="backward", check_sortedness=False)
    both = left.join_asof(after, left_on="start_ns", right_on="ts_ns", strategy="forward", check_sortedness=False)
    place = pl.concat_str(pl.col("before").fill_null(""), pl.lit(" > "), pl.col("after").fill_null("")).str.strip_chars(" ")
    return both.with_columns(place.alias("detail")).drop("before", "after", "until_ns", "ts_ns", strict=False)


def in_windows(segments: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Segments clipped to each of the windows, with `index`.

    One of no length is kept where it starts in the window.
    """
    parts = [_in_window(segments, *row) for row in windows.select("index", "start_ns", "end_ns").iter_rows()]
    return pl.concat([pl.DataFrame(schema={**SEGMENT, "index": pl.Int64}), *parts])


def _in_window(segments: pl.DataFrame, index: int, start: int, end: int) -> pl.DataFrame:
    empty = pl.col("start_ns") == pl.col("end_ns")
    touching = (pl.col("start_ns") < end) & ((pl.col("end_ns") > start) | (empty & (pl.col("start_ns") >= start)))
    return segments.filter(touching).with_columns(
        pl.max_horizontal("start_ns", pl.lit(start)).alias("start_ns"),
        pl.min_horizontal("end_ns", pl.lit(end)).alias("end_ns"),
        pl.lit(index, pl.Int64).alias("index"),
    )

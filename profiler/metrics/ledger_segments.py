"""Segments of the ledger: labelled stretches of time, clipped to windows."""

from __future__ import annotations

import polars as pl

from profiler.metrics.host_states import PYTHON_BETWEEN, State
from profiler.metrics.window_pattern import REGION
from profiler.metrics.windows import STEP
from profiler.tables import schema
from profiler.tables.trace import TraceTables

PYTHON_BETWEEN_STEPS = "Python between steps"

SEGMENT = {
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "kind": pl.String,
    "label": pl.String,
    "detail": pl.String,
    "region": pl.String,
    "host_ns": pl.Int64,
    "source": pl.String,
}


def of_states(pieces: pl.DataFrame, states: list[State], source: str) -> pl.DataFrame:
    """Pieces (start_ns, end_ns, state, host_ns) as segments."""
    table = pl.DataFrame(
        {
            "state": list(range(len(states))),
            "kind": ["busy" if each.busy else "idle" for each in states],
            "label": [each.label for each in states],
            "detail": [each.detail for each in states],
            "region": [each.region for each in states],
        },
        schema_overrides={"state": pl.Int64},
    )
    joined = pieces.join(table, on="state", how="left", maintain_order="left")
    return joined.with_columns(pl.lit(source).alias("source")).select(pl.col(name).cast(kind) for name, kind in SEGMENT.items())


def with_python_places(trace: TraceTables, segments: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Python between operators: between which compiled regions; outside all steps it is `Python between steps`."""
    python = segments.filter(pl.col("label") == PYTHON_BETWEEN)
    rest = segments.filter(pl.col("label") != PYTHON_BETWEEN)
    marked = _between_steps(python, windows)
    return pl.concat([rest, _between_regions(trace, marked)]).sort("start_ns", "end_ns")


def _between_steps(python: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Cut at the ends of steps on the host; what lies between two of them has a label of its own."""
    steps = windows.filter(pl.col("name") == STEP).sort("host_start_ns")
    outside = steps.select(pl.col("host_end_ns").alias("from_ns"), pl.col("host_start_ns").shift(-1).alias("until_ns"))
    for start, end in outside.filter(pl.col("until_ns") > pl.col("from_ns")).iter_rows():
        touched = (pl.col("end_ns") > start) & (pl.col("start_ns") < end)
        hit = python.filter(touched)
        if not hit.is_empty():
            inside = _clip(hit, start, end).with_columns(pl.lit(PYTHON_BETWEEN_STEPS).alias("label"))
            around = [hit.with_columns(pl.min_horizontal("end_ns", start).alias("end_ns"))]
            around.append(hit.with_columns(pl.max_horizontal("start_ns", end).alias("start_ns")))
            left = [part.filter(pl.col("end_ns") > pl.col("start_ns")) for part in around]
            python = pl.concat([python.filter(~touched), inside, *left])
    return python


def _between_regions(trace: TraceTables, python: pl.DataFrame) -> pl.DataFrame:
    """`0/0 > 1/1`: the compiled regions before and after, where the trace has any."""
    spans = trace.lazy("host").filter((pl.col("cat") == schema.CPU_OP) & pl.col("name").str.starts_with(REGION))
    short = pl.col("name").str.strip_prefix(REGION)
    regions = spans.select(short.alias("id"), "ts_ns", (pl.col("ts_ns") + pl.col("dur_ns")).alias("until_ns")).collect()
    if regions.is_empty():
        return python.sort("start_ns")
    before = regions.sort("until_ns").select(pl.col("until_ns"), pl.col("id").alias("before"))
    after = regions.sort("ts_ns").select("ts_ns", pl.col("id").alias("after"))
    ordered = python.sort("start_ns")
    left = ordered.join_asof(before, left_on="start_ns", right_on="until_ns", strategy="backward", check_sortedness=False)
    both = left.join_asof(after, left_on="start_ns", right_on="ts_ns", strategy="forward", check_sortedness=False)
    place = pl.concat_str(pl.col("before").fill_null(""), pl.lit(" > "), pl.col("after").fill_null("")).str.strip_chars(" ")
    return both.with_columns(place.alias("detail")).select(list(SEGMENT))


def _clip(segments: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    return segments.with_columns(
        pl.max_horizontal("start_ns", pl.lit(start)).alias("start_ns"), pl.min_horizontal("end_ns", pl.lit(end)).alias("end_ns")
    )


def by_window(segments: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Segments clipped to each of the windows, with `window`, `index` and `id`.

    A segment of no length is kept where it starts in the window: it may be a kernel that ran wholly beside another.
    """
    parts = [_in_window(segments, *row) for row in windows.select("name", "index", "start_ns", "end_ns").iter_rows()]
    empty = pl.DataFrame(schema={**SEGMENT, "window": pl.String, "index": pl.Int64})
    joined = pl.concat([empty, *parts])
    return joined.with_columns(
        pl.concat_str("kind", "label", pl.col("detail").replace("", None), separator="/", ignore_nulls=True).alias("id")
    )


def _in_window(segments: pl.DataFrame, name: str, index: int, start: int, end: int) -> pl.DataFrame:
    empty = pl.col("start_ns") == pl.col("end_ns")
    touching = (pl.col("start_ns") < end) & ((pl.col("end_ns") > start) | (empty & (pl.col("start_ns") >= start)))
    clipped = _clip(segments.filter(touching), start, end)
    return clipped.with_columns(pl.lit(name).alias("window"), pl.lit(index, pl.Int64).alias("index"))

"""Growth from step to step: what each step leaves behind, and whether that goes on."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from profiler.metrics.memory.allocations import Study, study
from profiler.metrics.memory.live import alive_at, live_total
from profiler.metrics.memory.source import MEMORY_PART
from profiler.metrics.memory.stacks import with_stack_text
from profiler.tables.run import Run

_STEP = "step"
# Steps that a verdict needs: the first may fill caches that later ones only read.
_LEAST_STEPS = 3
_GROUP = ("category", "component", "role", "module", "place", "stack")


@dataclass(frozen=True)
class Growth:
    """What steps leave behind.

    Args:
        steps: step (from 0), label, index (of the last event in it), live_bytes at its end, grown_bytes (less the step before's;
            null for the first).
        kept: what was allocated in steps after the first and still lived at the end of the last step, by who made it: bytes,
            count, steps (in how many it was left behind), steady (in every one of them), category, component, role, module,
            place, stack, stack_text; most bytes first.
        leak_bytes: bytes a step of what every step after the first leaves behind; 0 where nothing does; None where there are
            fewer than three steps, from which nothing can be told.
    """

    steps: pl.DataFrame
    kept: pl.DataFrame
    leak_bytes: float | None


def growth(run: Run, rank: int = 0) -> Growth:
    """The growth over the steps of the memory phase's call.

    Raises:
        UnreadableInput: the run holds no memory events, or they cannot be read.
    """
    found = study(run, rank, MEMORY_PART)
    steps = _steps(found)
    if steps.height < 2:
        return Growth(steps, _kept(found, steps), None)
    kept = _kept(found, steps)
    later = steps.height - 1
    steady = kept.filter("steady")
    leak = float(steady["bytes"].sum()) / later if steps.height >= _LEAST_STEPS else None
    grows = bool((steps["grown_bytes"].drop_nulls() > 0).all())
    return Growth(steps, kept, leak if leak is None or grows else 0.0)


def _steps(found: Study) -> pl.DataFrame:
    """Live bytes at the end of each step of the call."""
    windows = found.windows.filter(pl.col("name") == _STEP).rename({"index": "step"})
    events = found.moments.select("index", "time_us").drop_nulls()
    last = [events.filter(pl.col("time_us") <= end)["index"].max() for end in windows["end_us"]]
    ends = windows.select("step", "label").with_columns(pl.Series("index", last, dtype=pl.Int64).fill_null(-1))
    live = ends.sort("index").join_asof(live_total(found.rows), on="index").sort("step")
    return live.with_columns(pl.col("live_bytes").diff().alias("grown_bytes"))


def _kept(found: Study, steps: pl.DataFrame) -> pl.DataFrame:
    """What steps after the first made and the last one still held."""
    later = steps.filter(pl.col("step") > 0)
    end = later["index"].max()
    alive = alive_at(found.rows, end if isinstance(end, int) else -1)
    made = alive.join(later.select(pl.col("label").alias("window")), on="window", how="semi")
    grouped = made.group_by(_GROUP).agg(
        pl.col("size_bytes").sum().alias("bytes"), pl.len().alias("count"), pl.col("window").n_unique().alias("steps")
    )
    steady = (pl.col("steps") == later.height).alias("steady")
    ordered = grouped.with_columns(steady).sort("bytes", *_GROUP, descending=[True, *(False for _ in _GROUP)])
    return with_stack_text(ordered.select("bytes", "count", "steps", "steady", *_GROUP), found.recording.stacks)

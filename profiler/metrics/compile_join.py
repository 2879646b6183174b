"""Which compile of the log each compiled region of the trace runs.

By FX graph key first: it stands in both. Where a region calls no graph with a key (another backend), by compile id within the
same stretch of time: ids start again after `torch._dynamo.reset()` or `explain()`, so only those valid then can be meant.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.metrics.compile_regions import regions
from profiler.rundir import layout
from profiler.tables.run import Run
from profiler.tables.trace import TraceTables

# Without keys a trace belongs to a log whose last record is no older than this: later ones are another process's.
_STRETCH_NS = 3600 * 10**9
BY_KEY, BY_ID = "fx_key", "compile_id"
Row = dict[str, Any]


def join(trace: TraceTables, compiles: pl.DataFrame) -> pl.DataFrame:
    """The trace's regions (see `compile_regions.regions`) with two columns more.

    `generation`: of the compile that ran, with `compile_id` its name in the log; `joined_by`: "fx_key" or "compile_id"; both null
    where the log does not know the region.
    """
    found = regions(trace)
    compiled = _Compiles(compiles, set(found["fx_keys"].explode().drop_nulls()))
    joined = [compiled.of(row, trace.base_ns) for row in found.iter_rows(named=True)]
    return found.with_columns(
        pl.Series("generation", [each.generation for each in joined], dtype=pl.Int64),
        pl.Series("joined_by", [each.how for each in joined], dtype=pl.String),
    )


@dataclass(frozen=True)
class _Match:
    generation: int | None = None
    how: str | None = None


class _Compiles:
    """The log's compiles, by key and by id."""

    def __init__(self, compiles: pl.DataFrame, traced: set[str]) -> None:
        rows = compiles.select("log", "generation", "compile_id", "start_ns", "end_ns", "fx_keys").to_dicts()
        self._by_key: dict[str, list[Row]] = {}
        self._by_id: dict[tuple[int, str], Row] = {}
        for row in rows:
            self._by_id[row["generation"], row["compile_id"]] = row
            for key in row["fx_keys"]:
                self._by_key.setdefault(key, []).append(row)
        # Of several files, ids are those of the process that was traced: the ones with its graphs.
        logs = {row["log"] for key in traced for row in self._by_key.get(key, [])}
        timed = [each for each in rows if each["start_ns"] is not None and (not logs or each["log"] in logs)]
        begun: dict[int, int] = {}
        for row in sorted(timed, key=lambda each: int(each["start_ns"])):
            begun.setdefault(row["generation"], row["start_ns"])
        self._generations, self._starts = list(begun), list(begun.values())

    def of(self, region: Row, base_ns: int) -> _Match:
        """The compile that a region runs."""
        at_ns = base_ns + region["ts_ns"]
        found = self._with_key(region, at_ns)
        if found is not None:
            return _Match(found["generation"], BY_KEY)
        if region["fx_keys"] and not any(key in self._by_key for key in region["fx_keys"]):
            # It runs a graph that this log never compiled: an equal id means nothing.
            return _Match()
        generation = self._generation_at(at_ns)
        known = generation is not None and (generation, region["compile_id"]) in self._by_id
        return _Match(generation, BY_ID) if known else _Match()

    def _with_key(self, region: Row, at_ns: int) -> Row | None:
        """Equal graphs share a key: of those that do, the one with the region's id, compiled last before it ran."""
        rows = [row for key in region["fx_keys"] for row in self._by_key.get(key, [])]
        rows = [row for row in rows if row["compile_id"] == region["compile_id"]]
        before = [row for row in rows if row["start_ns"] is not None and row["start_ns"] <= at_ns]
        return max(before, key=lambda row: int(row["start_ns"]), default=rows[0] if rows else None)

    def _generation_at(self, at_ns: int) -> int | None:
        """The generation whose ids were valid then."""
        index = bisect_right(self._starts, at_ns) - 1
        return self._generations[index] if index >= 0 else None


def why_not_same_program(trace: TraceTables, compiles: pl.DataFrame) -> str | None:
    """Why a trace and a log cannot be of one program; None where they can."""
    found = regions(trace)
    traced = set(found["fx_keys"].explode().drop_nulls())
    logged = set(compiles["fx_keys"].explode().drop_nulls())
    if traced and not traced & logged:
        return (
            f"the trace runs {len(traced)} compiled graph{'s' * (len(traced) > 1)} and the log compiled {len(logged)}, "
            "but no FX graph key is in both"
        )
    return None if traced else _why_not_same_time(trace, compiles)


def _why_not_same_time(trace: TraceTables, compiles: pl.DataFrame) -> str | None:
    """The rule where no key can tell: the log began before the trace ended, and ended at most an hour before it began."""
    times = trace.lazy("host").select(
        pl.col("ts_ns").min().alias("first"), (pl.col("ts_ns") + pl.col("dur_ns")).max().alias("last")
    )
    first, last = times.collect().row(0)
    log_first, log_last = compiles["start_ns"].min(), compiles.select(pl.max_horizontal("start_ns", "end_ns").max()).item()
    if first is None or not isinstance(log_first, int) or not isinstance(log_last, int):
        return None
    first, last = trace.base_ns + first, trace.base_ns + last
    if last >= log_first and first <= log_last + _STRETCH_NS:
        return None
    apart = (log_first - last) if last < log_first else (first - log_last)
    order = "ended before the log began" if last < log_first else "began after the log ended"
    return f"the trace runs no graph with an FX graph key, and it {order}, {apart / 1e9:,.0f} s apart"


def has_log(run: Run, rank: int = 0) -> bool:
    """Whether a rank has a compile log; torch writes none where nothing was compiled, and leaves the folder empty."""
    folder = run.artifact(layout.COMPILE_LOG_DIR, rank)
    return folder.is_dir() and any(folder.iterdir())


def check_same_program(run: Run, rank: int = 0) -> None:
    """Refuse a run whose trace and compile log are of two programs; a run without either passes.

    Raises:
        UnreadableInput: they share no FX graph key or, where the trace has none, no stretch of time.
    """
    if not (run.has(layout.TRACE, rank) and has_log(run, rank)):
        return
    why = why_not_same_program(run.trace(rank), run.compile_log(rank).frame("compiles"))
    if why is not None:
        raise UnreadableInput(
            f"the trace and the compile log of {run.path} are not of the same program: {why}",
            "import the log that was written while this trace was recorded",
        )

"""Two runs of which at least one has several ranks: whose times are compared, and what more ranks bring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from profiler.metrics.compare_calls import CallDifference
from profiler.metrics.compare_runs import CALL_TIME, OPTION, PARALLEL, RANKS, TIME, Difference
from profiler.metrics.compare_time import EXPOSED, IDLE, WAITING, WindowDifference, group_of
from profiler.metrics.ledger_segments import BUSY
from profiler.metrics.per_rank import rank_totals
from profiler.metrics.ranks import rank_summary
from profiler.metrics.windows import CALL, DECODE, STEP, TEXT
from profiler.tables.ranks import is_spread, rank_count
from profiler.tables.run import Run

COMPUTE = "computation"
PARTS = (COMPUTE, EXPOSED, WAITING, IDLE)
"""What a window of one rank is made of; its rows sum to it."""

_TIMES = ("step_us", "compute_us", "exposed_us", "hidden_us", "waiting_us", "idle_us")


@dataclass(frozen=True)
class RanksOf:
    """The ranks of one run of a comparison.

    Args:
        count: how many it should have.
        rank: whose windows and memory are compared.
        median, slowest: None where no rank has times.
        window: `step`, or `call` where the traces have no steps.
        times_us: of that rank, a window as traced: step_us, compute_us, exposed_us, hidden_us, waiting_us, idle_us; empty where
            it has none.
        inference_peak_gib: of each rank that says it.
        problems: ranks without times, and why; traces that are cut.
    """

    count: int
    rank: int
    median: int | None
    slowest: int | None
    window: str
    times_us: dict[str, float]
    inference_peak_gib: dict[int, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scaled:
    """One part of a window in ns: with few ranks, what it would be were that spread evenly over many, and with many."""

    name: str
    few_ns: float
    even_ns: float
    many_ns: float

    @property
    def lost_ns(self) -> float:
        """What the part takes beyond its even share; below 0 where it takes less."""
        return self.many_ns - self.even_ns


@dataclass(frozen=True)
class Scaling:
    """What more ranks bring: one call spread over `many` ranks instead of `few`.

    Args:
        run: which of both has many: `new`, or `base` where the new run has fewer ranks.
        of: what `speedup` is of: `call`; of runs without timed calls `step` (or the traced `call`), with ` as traced` where an
            untraced time is not known.
        speedup: how many times as fast that is with many; None, with `why`, where times cannot be compared.
        window: the window of `parts`, in untraced time of one rank; they sum to it, and `lost_ns` to what the window takes beyond
            an even share. Empty without such a window in both traces, and where times cannot be compared.
        whole_ms: text encoding and decoding of a call with many: every rank computes all of them.
        also: other options that differ: then ranks are not all that changed.
    """

    few: int
    many: int
    run: str
    of: str
    speedup: float | None
    why: str
    window: str = ""
    parts: list[Scaled] = field(default_factory=list)
    whole_ms: float = 0.0
    also: list[str] = field(default_factory=list)

    @property
    def efficiency(self) -> float | None:
        """The speed-up over how many times as many ranks there are: 1 is linear scaling."""
        return None if self.speedup is None else self.speedup * self.few / self.many


def ranks_of(run: Run, rank: int) -> RanksOf | None:
    """The ranks of a run whose `rank` is compared; None for a run of one process."""
    if not is_spread(run):
        return None
    summary, totals = rank_summary(run), rank_totals(run)
    mine = summary.ranks.filter((pl.col("rank") == rank) & pl.col("step_us").is_not_null()).select(_TIMES)
    return RanksOf(
        count=rank_count(run),
        rank=rank,
        median=summary.median,
        slowest=summary.slowest,
        window=summary.window,
        times_us=mine.row(0, named=True) if mine.height else {},
        inference_peak_gib={each.rank: each.inference_peak_gib for each in totals if each.inference_peak_gib is not None},
        problems=[text for row in summary.ranks.iter_rows(named=True) if (text := _problem(row))],
    )


def _problem(row: Mapping[str, Any]) -> str:
    if row["problem"]:
        return str(row["problem"])
    return f"rank {row['rank']}: the trace is cut or damaged, the times are of what is left" if row["lost"] else ""


def scaling(
    runs: tuple[Run, Run], calls: CallDifference, windows: Mapping[str, WindowDifference], changed: Sequence[Difference]
) -> Scaling | None:
    """What more ranks bring, of two runs (base, new); None where both have as many."""
    base, new = (rank_count(run) for run in runs)
    if base == new:
        return None
    window = windows.get(STEP) or windows.get(CALL)
    of, speedup, why = _speedup(calls, window, changed)
    more = new > base
    return Scaling(
        few=min(base, new),
        many=max(base, new),
        run="new" if more else "base",
        of=of,
        speedup=speedup if more or not speedup else 1 / speedup,
        why=why,
        window=window.name if window else "",
        parts=_parts(window, base, new) if window and not any(TIME in each.spoils for each in changed) else [],
        whole_ms=sum(part.new_ms if more else part.base_ms for part in calls.parts if part.name in (TEXT, DECODE)),
        also=[each.what for each in changed if each.kind == OPTION and each.what not in (RANKS, PARALLEL)],
    )


def _speedup(
    calls: CallDifference, window: WindowDifference | None, changed: Sequence[Difference]
) -> tuple[str, float | None, str]:
    """(of a call or a window, how many times as fast, why that is not known)."""
    spoiled = {each.what: each.spoils for each in changed if each.spoils}
    if calls.speedup is not None and not _spoils(spoiled, CALL_TIME):
        return CALL, calls.speedup, ""
    if window is None:
        return CALL, None, "no time of both runs is known"
    if _spoils(spoiled, TIME):
        return window.name, None, f"not the same {', '.join(_spoils(spoiled, TIME))}"
    of = window.name if window.calibrated else f"{window.name} as traced"
    return (of, window.base_ns / window.new_ns, "") if window.new_ns else (of, None, "times of 0")


def _spoils(spoiled: Mapping[str, Iterable[str]], what: str) -> list[str]:
    return [name for name, spoils in spoiled.items() if what in spoils]


def _parts(window: WindowDifference, base: int, new: int) -> list[Scaled]:
    sums = {name: [0, 0] for name in PARTS}
    for kind, label, *sizes in window.classes.select("kind", "label", "base_ns", "new_ns").iter_rows():
        group = group_of(kind, label)
        of = sums[group if group in sums else COMPUTE if kind == BUSY else IDLE]
        for place, size in enumerate(sizes if new > base else sizes[::-1]):
            of[place] += size
    share = min(base, new) / max(base, new)
    return [Scaled(name, few, few * share, many) for name, (few, many) in sums.items() if few or many]

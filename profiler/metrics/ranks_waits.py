"""What the ledger of one rank must know of the others: when each of its collectives really began, and for whom it waited."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import polars as pl

from profiler.metrics.ranks_clock import clocks
from profiler.metrics.ranks_collectives import CALLS, arrivals, collectives_of, matched
from profiler.tables.ranks import host_of, readable
from profiler.tables.run import Run


@dataclass(frozen=True)
class Waits:
    """The collectives of all ranks of a run.

    Args:
        calls: one row a collective and rank: columns of CALLS, `until_ns`, `for_rank`, see `ranks_collectives.arrivals`; those
            without a match wait for nobody.
        clocks: of `ranks_clock.clocks`.
        hosts: by rank; empty text where unknown.
        ranks: those whose traces can be read.
        problems: by rank, why it has no times.
        unmatched: by rank, collectives that no other rank has.
    """

    calls: pl.DataFrame
    clocks: pl.DataFrame
    hosts: dict[int, str]
    ranks: list[int]
    problems: dict[int, str]
    unmatched: dict[int, int]

    def of(self, rank: int) -> pl.DataFrame:
        """The collectives of one rank, by their starts."""
        return self.calls.filter(pl.col("rank") == rank).sort("start_ns", maintain_order=True)


# The year 2116: sums with it still are 64-bit numbers.
_LAST_NS = 1 << 62
_KNOWN: WeakKeyDictionary[Run, Waits] = WeakKeyDictionary()


def waits(run: Run) -> Waits:
    """The collectives of a run; read once, a rank at a time."""
    if run not in _KNOWN:
        _KNOWN[run] = _made(run)
    return _KNOWN[run]


def epoch_base(run: Run, rank: int) -> int:
    """What makes epoch time of a rank's trace time; 0 where the trace does not say, or nothing that can be."""
    base = run.trace(rank).base_ns
    return base if 0 < base < _LAST_NS else 0


def _with_times(run: Run) -> tuple[list[int], dict[int, str]]:
    """The ranks that have times, and why others have none. Kernels come last in a trace: one cut before them looks idle."""
    ranks, problems = readable(run)
    kernels = {rank: run.trace(rank).events.get("gpu", 0) for rank in ranks}
    cut = {rank: "; ".join(lost) for rank in ranks if not kernels[rank] and (lost := run.trace(rank).lost)}
    if any(kernels.values()):
        problems |= {rank: f"rank {rank}'s trace is cut before its first GPU event: {why}" for rank, why in cut.items()}
    return [rank for rank in ranks if rank not in problems], problems


def _made(run: Run) -> Waits:
    ranks, problems = _with_times(run)
    every = pl.concat([pl.DataFrame(schema=CALLS), *(collectives_of(run.trace(rank), rank) for rank in ranks)])
    shared, unmatched = matched(every)
    hosts = {rank: host_of(run, rank) for rank in ranks}
    aligned = clocks(shared, {rank: epoch_base(run, rank) for rank in ranks}, hosts)
    known = arrivals(shared, aligned)
    mine = ["rank", "kind", "name", "start_ns", "end_ns"]
    alone = every.join(known, on=mine, how="anti", nulls_equal=True)
    nobody = alone.with_columns(
        pl.lit(None, pl.String).alias("key"), pl.col("start_ns").alias("until_ns"), pl.lit(None, pl.Int64).alias("for_rank")
    )
    return Waits(pl.concat([known, nobody.select(known.columns)]), aligned, hosts, ranks, problems, unmatched)

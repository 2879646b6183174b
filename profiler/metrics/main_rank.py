"""Which rank of a run is shown where none is asked for, and the calls of a run whose ranks end at different times."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from profiler.metrics.memory.source import has_part
from profiler.metrics.ranks import rank_summary
from profiler.rundir import layout, summary
from profiler.rundir.manifest import Manifest
from profiler.rundir.ranks import longest_calls
from profiler.tables.ranks import is_spread, manifest_of, rank_facts
from profiler.tables.run import Run

_CALLS = "iterations_ns"


def main_rank(run: Run) -> int:
    """The rank whose time is shown: of several the median one, in whose ledger a slower one is seen as waiting.

    One whose trace is cut is taken only where every trace is; where no rank has times, the one whose memory is shown.
    """
    if not is_spread(run):
        return next((rank for rank in run.ranks if run.has(layout.TRACE, rank)), 0)
    known = rank_summary(run).ranks.filter(pl.col("own_us").is_not_null()).sort("own_us", "rank")
    whole = known.filter(pl.col("lost") == 0)["rank"].to_list() or known["rank"].to_list()
    return whole[(len(whole) - 1) // 2] if whole else memory_rank(run)


def memory_rank(run: Run) -> int:
    """The rank whose memory is shown: the one that ran out of it, else the one that needs most in a call, else the first.

    No trace is read for it.
    """
    able = [each.rank for each in rank_facts(run) if each.here] if run.path.is_dir() else []
    if not is_spread(run):
        return next((rank for rank in able if has_part(run, rank)), 0)
    dead = [each.rank for each in rank_facts(run) if each.status == "oom" and each.rank in able]
    held = [rank for rank in able if has_part(run, rank)] or able
    peaks = {rank: peak for rank in held if (peak := inference_peak(run, rank)) is not None}
    highest = max(peaks, key=lambda rank: (peaks[rank], -rank), default=None)
    return next(iter(dead), highest if highest is not None else next(iter(held), 0))


def inference_peak(run: Run, rank: int) -> int | None:
    """The peak of a call of one rank, bytes; None on a CPU or where it does not say."""
    return summary.inference_peak_bytes(manifest_of(run, rank))


def slowest_calls(run: Run) -> Manifest:
    """`run.json` with the calls of all ranks: each as long as on the rank that took longest, since all begin a call together.

    What only some ranks say is left out: then the calls are rank 0's, as in `run.json`.
    """
    if not is_spread(run):
        return run.manifest
    each = [calls for fact in rank_facts(run) if (calls := manifest_of(run, fact.rank).timed.get(_CALLS))]
    longest = longest_calls(each)
    return replace(run.manifest, timed=run.manifest.timed | {_CALLS: longest}) if longest else run.manifest

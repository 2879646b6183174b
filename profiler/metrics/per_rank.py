"""What each rank of a run says of its own calls and memory, from what it wrote down; no trace is read."""

from __future__ import annotations

from dataclasses import dataclass

from profiler.metrics.phases import memory, timed
from profiler.tables.ranks import manifest_of, rank_facts
from profiler.tables.run import Run


@dataclass(frozen=True)
class RankTotals:
    """One rank; None for what it does not say: a rank on a CPU no bytes, an imported one nothing at all.

    Args:
        call_ms: median of its timed calls.
        model_gib, load_peak_gib, inference_peak_gib: on its own device.
        problem: why it has no times to show, or empty.
    """

    rank: int
    call_ms: float | None
    model_gib: float | None
    load_peak_gib: float | None
    inference_peak_gib: float | None
    problem: str = ""


def rank_totals(run: Run) -> list[RankTotals]:
    """Every rank that the run should have, by number."""
    return [_totals(run, each.rank, each.problem) for each in rank_facts(run)]


def _totals(run: Run, rank: int, problem: str) -> RankTotals:
    manifest = manifest_of(run, rank)
    sizes = memory(manifest)
    call_ms = timed(manifest).median_ms
    return RankTotals(rank, call_ms, sizes.model_gib, sizes.load_peak_gib, sizes.inference_peak_gib, problem)

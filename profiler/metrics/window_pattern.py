"""Steps of a trace that marks none: the pattern of compiled regions that repeats.

A step is a row of outermost regions (one for a whole compiled transformer, 57 for the blocks of Flux) with the eager operators
around them. Blocks alone repeat as well, so a row of regions counts as a step only where what lies between two rows is alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from profiler.tables import schema
from profiler.tables.trace import TraceTables

REGION = "Torch-Compiled Region: "

# Longer rows than this are no steps: the search is quadratic.
_LONGEST = 1024


@dataclass(frozen=True)
class Outermost:
    """Outermost operators of one thread, in order: names, starts and ends in ns, and which of them are compiled regions."""

    names: list[str]
    starts: list[int]
    ends: list[int]
    regions: list[int]


def repeated_calls(trace: TraceTables) -> list[tuple[int, int]]:
    """Host range (ns) of each repetition; empty where nothing repeats."""
    spans = _outermost(trace)
    names = [spans.names[each] for each in spans.regions]
    period, first, repeats = _best_period(names, spans)
    if repeats < 2:
        return []
    return _ranges(spans, period, first, repeats)


def _outermost(trace: TraceTables) -> Outermost:
    ops = trace.lazy("host").filter(pl.col("cat") == schema.CPU_OP)
    regions = ops.filter(pl.col("name").str.starts_with(REGION)).select("tid").collect()
    if regions.is_empty():
        return Outermost([], [], [], [])
    tid = regions["tid"].mode().min()
    end = pl.col("ts_ns") + pl.col("dur_ns")
    thread = ops.filter(pl.col("tid") == tid).select("name", "ts_ns", end.alias("end_ns")).collect()
    thread = thread.sort(["ts_ns", "end_ns"], descending=[False, True], maintain_order=True)
    outside = thread.filter((pl.col("end_ns").cum_max().shift(1) <= pl.col("ts_ns")).fill_null(True))
    names = outside["name"].to_list()
    found = [index for index, name in enumerate(names) if name.startswith(REGION)]
    return Outermost(names, outside["ts_ns"].to_list(), outside["end_ns"].to_list(), found)


def _best_period(names: Sequence[str], spans: Outermost) -> tuple[int, int, int]:
    """(regions a step, the first region of the first step, steps) that cover most regions; of those the one that cuts where most
    lies between two regions, then the shortest."""
    best, score = (0, 0, 0), (0, False)
    for period in range(1, min(len(names) // 2, _LONGEST) + 1):
        first, repeats = _longest_run(names, period)
        if repeats * period >= score[0] and _is_step(spans, period, first, repeats):
            found = (repeats * period, _cuts_widest(spans, period, first, repeats))
            if found > score:
                best, score = (period, first, repeats), found
    return best


def _longest_run(names: Sequence[str], period: int) -> tuple[int, int]:
    """Where the longest stretch of this period starts, and how many whole periods it holds."""
    best = (0, 0)
    start = 0
    for index in range(period, len(names) + 1):
        if index == len(names) or names[index] != names[index - period]:
            best = max(best, ((index - start) // period, -start))
            start = index - period + 1
    return -best[1], best[0]


def _is_step(spans: Outermost, period: int, first: int, repeats: int) -> bool:
    """Whether what lies between two rows is alike: within 2 x and 8 operators, since the first step may prepare something."""
    between = [len(_between(spans, first + row * period - 1)) for row in range(1, repeats)]
    return not between or max(between) <= 2 * min(between) + 8


def _cuts_widest(spans: Outermost, period: int, first: int, repeats: int) -> bool:
    """Whether no two regions of a step have more operators between them than two steps have."""
    widths = [len(_between(spans, region)) for region in range(first, first + repeats * period - 1)]
    cuts = set(range(period - 1, len(widths), period))
    inside = [width for index, width in enumerate(widths) if index not in cuts]
    return max(inside, default=0) <= min((widths[index] for index in cuts), default=0)


def _between(spans: Outermost, region: int) -> list[str]:
    """Operators after the `region`-th region and before the next."""
    return spans.names[spans.regions[region] + 1 : spans.regions[region + 1]]


def _ranges(spans: Outermost, period: int, first: int, repeats: int) -> list[tuple[int, int]]:
    """Each step begins with the operators that lead into its first region: those that come before the first step as well."""
    last = first + repeats * period - 1
    between = _between(spans, first + period - 1)
    lead = _common_suffix(spans.names[: spans.regions[first]], between)
    trail = _common_prefix(spans.names[spans.regions[last] + 1 :], between[: len(between) - lead])
    starts = [spans.regions[first + row * period] - lead for row in range(repeats)]
    cuts = [spans.starts[index] for index in starts]
    return list(zip(cuts, [*cuts[1:], spans.ends[spans.regions[last] + trail]], strict=True))


def _common_suffix(left: Sequence[str], right: Sequence[str]) -> int:
    return _common_prefix(left[::-1], right[::-1])


def _common_prefix(left: Sequence[str], right: Sequence[str]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))

"""Memory that every step leaves behind."""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl

from profiler.core.finding import Finding, Place
from profiler.core.units import format_size
from profiler.metrics.memory.labels import PIPELINE, SCHEDULER
from profiler.metrics.memory.live import alive_at, live_total
from profiler.metrics.memory.shrink import relief
from profiler.rules.base import RULES, Rule
from profiler.rules.context import STEP, Context
from profiler.rules.memory_facts import EVENTS, STEPS, AtPeak, at_peak, ids, step_growth

# A step index or a scalar kept for logging is no leak worth naming.
_LEAST_BYTES = 64 << 10
_SITES = 3
_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+) (?P<function>.+)")
_GROUP = ["category", "component", "role", "module", "place", "stack"]


def check(context: Context) -> Iterable[Finding]:
    """What each step but the first allocated and no step gave back, by who made it."""
    grown = step_growth(context.run, context.rank)
    leak = grown.leak_bytes or 0.0
    if leak < _LEAST_BYTES:
        return
    sites = grown.kept.filter("steady")
    found = at_peak(context.run, context.rank)
    leaked = _leaked(found, grown.steps, sites)
    held = found.live.join(leaked.select("id"), on="id", how="semi")
    steps = context.spec.get("steps")
    times = max(grown.steps.height, steps if isinstance(steps, int) else 0) - 1
    by_end = round(leak * times)
    yield Finding(
        rule=RULE.name,
        title=f"every step leaves {format_size(leak)} behind: {format_size(by_end)} at the end of {times + 1} steps",
        window=STEP,
        memory=True,
        where=tuple(place_of(row["place"], row["module"]) for row in sites.head(_SITES).iter_rows(named=True)),
        count=int(sites["count"].sum()) // max(1, grown.steps.height - 1),
        held=ids(held),
        cost_bytes=max(0, by_end - int(held["size_bytes"].sum())),
        saving_low_bytes=min(by_end, _falls(found, leaked, grown.steps, round(leak * (times + 1 - grown.steps.height)))),
        saving_high_bytes=by_end,
        evidence=_evidence(grown.steps, sites),
        change="keep what outlives a step on the CPU (.cpu()), detach it, or keep only the last: lists, caches and callbacks "
        "that hold tensors of each step",
        doc="docs/memory.md",
    )


def _leaked(found: AtPeak, steps: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """What steps after the first made and the last one still held."""
    last = steps["index"].max()
    kept = alive_at(found.study.rows, last if isinstance(last, int) else -1)
    return kept.filter(pl.col("window").str.starts_with("step/") & (pl.col("window") != "step/0")).join(
        sites, on=_GROUP, how="semi"
    )


def _falls(found: AtPeak, leaked: pl.DataFrame, steps: pl.DataFrame, later_bytes: int) -> int:
    """By how much the peak of a whole call falls without the leak: nothing where text encoding, before any step, is the peak.

    Args:
        later_bytes: what steps that were not recorded would add.
    """
    after = found.peak.windows.filter(pl.col("label").is_in([steps["label"][-1], "decode"]))["requested_bytes"].max()
    peak = found.peak.requested_bytes
    grown = max(peak, after + later_bytes) if isinstance(after, int) else peak
    return grown - (peak - relief(live_total(found.study.rows), leaked))


def _evidence(steps: pl.DataFrame, sites: pl.DataFrame) -> tuple[str, ...]:
    ends = ", ".join(format_size(each) for each in steps["live_bytes"].head(6))
    lines = [f"live at the end of each step: {ends}{', ...' if steps.height > 6 else ''}"]
    for row in sites.head(_SITES).iter_rows(named=True):
        who = row["module"] if row["component"] not in (PIPELINE, SCHEDULER) else f"the {row['component']}"
        lines.append(f"{format_size(row['bytes'])} in {row['count']} allocations by {who} ({row['category']})")
    return tuple(lines)


def place_of(place: str, module: str = "") -> Place:
    """A place as `metrics.memory` writes it: `file:line function`."""
    match = _PLACE.fullmatch(place)
    if match is None:
        return Place(file=place or None, module=module or None)
    return Place(file=match["file"], line=int(match["line"]), function=match["function"], module=module or None)


RULE = RULES.add(
    "memory-leak",
    Rule(name="memory-leak", summary="memory that every step leaves behind", check=check, needs=(EVENTS, STEPS), priority=10),
)

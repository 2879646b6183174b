"""Memory that CUDA graphs keep for themselves."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from profiler.core.finding import Finding
from profiler.core.units import format_size
from profiler.metrics.memory.labels import GRAPH_POOL
from profiler.rules.base import RULES, Rule
from profiler.rules.context import CALL, Context
from profiler.rules.memory_facts import LEAST, SNAPSHOT, at_peak, ids, size_of
from profiler.rundir import layout


def check(context: Context) -> Iterable[Finding]:
    """Private pools: reserved for replays, and of no use to anything else."""
    found = at_peak(context.run, context.rank)
    pools = _pools(context)
    reserved = int(pools["total_bytes"].sum())
    if reserved < LEAST * found.peak.requested_bytes:
        return
    held = found.live.filter(pl.col("category") == GRAPH_POOL)
    live = size_of(held)
    yield Finding(
        rule=RULE.name,
        title=f"CUDA graphs keep {format_size(reserved)} in {pools.height} private pool{'s' if pools.height > 1 else ''}",
        window=CALL,
        memory=True,
        count=pools.height,
        held=ids(held),
        cost_bytes=max(0, reserved - live),
        saving_low_bytes=0,
        saving_high_bytes=reserved,
        evidence=(
            f"{format_size(live)} of it live at the peak; eager code would hold its share of that only while it runs",
            "each shape that is captured has its own share of a pool",
        ),
        change="--compile default or regional works without CUDA graphs (slower where launches are the limit); with them, "
        "capture one shape: pad prompts and sizes, and set torch._inductor.config.triton.cudagraph_skip_dynamic_graphs = True",
        doc="docs/memory.md",
    )


def _pools(context: Context) -> pl.DataFrame:
    """Private pools at the end of the memory phase: pool_a, pool_b, total_bytes."""
    segments = context.run.snapshot(context.rank, layout.MEMORY).frame("segments")
    private = segments.filter(((pl.col("pool_a") != 0) | (pl.col("pool_b") != 0)).fill_null(False))
    return private.group_by("pool_a", "pool_b").agg(pl.col("total_bytes").cast(pl.Int64).sum())


RULE = RULES.add(
    "memory-graph-pool",
    Rule(
        name="memory-graph-pool",
        summary="memory that CUDA graphs keep",
        check=check,
        needs=(SNAPSHOT,),
        priority=20,
    ),
)

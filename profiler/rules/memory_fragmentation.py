"""The allocator holds far more of the device than is in use at the peak."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding
from profiler.core.units import format_size
from profiler.metrics.memory import FreeMemory, memory_summary
from profiler.metrics.memory.unused import unused_bytes
from profiler.rules.base import RULES, Rule
from profiler.rules.context import CALL, Context
from profiler.rules.memory_facts import SNAPSHOT, at_peak
from profiler.rundir import layout

# A caching allocator holds some more: below this share of what lives it is the price of its speed.
_LEAST_SHARE = 0.2
_LEAST_BYTES = 64 << 20


def check(context: Context) -> Iterable[Finding]:
    """Free pieces of reserved memory at the peak, against what lives."""
    found = at_peak(context.run, context.rank)
    free = found.peak.free
    if free is None or free.free_bytes < max(_LEAST_BYTES, _LEAST_SHARE * free.live_bytes):
        return
    unused = unused_bytes(found.study)
    yield Finding(
        rule=RULE.name,
        title=f"{format_size(free.reserved_bytes)} of the device are reserved for {format_size(free.live_bytes)} at the peak",
        window=CALL,
        memory=True,
        cost_bytes=free.free_bytes,
        saving_low_bytes=min(unused or 0, free.free_bytes),
        saving_high_bytes=free.free_bytes,
        evidence=tuple(_evidence(free, unused, context)),
        change=_change(free, unused),
        doc="docs/memory.md",
    )


def _evidence(free: FreeMemory, unused: int | None, context: Context) -> Iterable[str]:
    if free.pieces is not None:
        largest = f", the largest {format_size(free.largest_free_bytes)}"
        yield f"{format_size(free.free_bytes)} are free in {free.pieces} pieces{largest}: what is larger asks the device for more"
    if unused:
        yield f"{format_size(unused)} of it are whole segments that the recorded call never touches{_left_by(context)}"
    yield (
        f"other processes and nvidia-smi see {format_size(free.reserved_bytes)} and what CUDA itself takes; alone on the device "
        "whole free segments harm nobody: the allocator gives them back before it fails"
    )


def _left_by(context: Context) -> str:
    """The phase after which most was reserved and not allocated."""
    held = {
        each.name: (each.reserved_bytes or 0) - (each.alloc_bytes or 0)
        for each in memory_summary(context.run, context.rank).phases
    }
    quantize, load = held.get(layout.QUANTIZE, 0), held.get(layout.LOAD, 0)
    if quantize - load < _LEAST_BYTES:
        return ""
    return f"; after quantizing {format_size(quantize)} were reserved and free, where the weights had lain before"


def _change(free: FreeMemory, unused: int | None) -> str:
    empty = "torch.cuda.empty_cache() once after quantizing and the first call"
    if free.expandable_bytes:
        return f"{empty}: segments are expandable already"
    expandable = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True before the program starts"
    return f"{empty}, or {expandable}" if unused else expandable


RULE = RULES.add(
    "memory-fragmentation",
    Rule(
        name="memory-fragmentation",
        summary="far more reserved than in use",
        check=check,
        needs=(SNAPSHOT,),
        priority=50,
    ),
)

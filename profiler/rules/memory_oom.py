"""The run ran out of memory: who asked for how much, what held it, what was free in pieces."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Place
from profiler.core.units import format_size
from profiler.metrics.memory import OomReport, oom_report
from profiler.rules.base import RULES, Rule
from profiler.rules.context import Context
from profiler.rules.memory_facts import OUTCOME
from profiler.rules.memory_leak import place_of
from profiler.rundir import layout

_EXPANDABLE = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True before the program starts makes the free pieces one"


def check(context: Context) -> Iterable[Finding]:
    """The last allocation that failed, where that ended the run or is in its events."""
    found = oom_report(context.run, context.rank)
    if found is None:
        return
    phase = found.window or found.phase or "the recording"
    yield Finding(
        rule=RULE.name,
        title=f"out of memory in {phase}{_asked(found)}",
        window=phase,
        memory=True,
        where=_where(found),
        cost_bytes=found.asked_bytes or 0,
        saving_low_bytes=short_by(found) if not found.by_fragmentation else 0,
        saving_high_bytes=short_by(found),
        evidence=tuple(_evidence(found)),
        change="; or ".join(_changes(found, context)),
        doc="docs/memory-recipes.md",
    )


def short_by(found: OomReport) -> int:
    """What was missing on the device for the request: it must get smaller by that, or as much must be freed."""
    return max(0, (found.asked_bytes or 0) - (found.device_free_bytes or 0))


def _asked(found: OomReport) -> str:
    if found.asked_bytes is None:
        return ""
    who = f" by {found.component}" if found.component and found.component != "unattributed" else ""
    free = f", {format_size(found.device_free_bytes)} free on the device" if found.device_free_bytes is not None else ""
    return f": {format_size(found.asked_bytes)} asked{who}{free}"


def _where(found: OomReport) -> tuple[Place, ...]:
    return (place_of(found.place, found.module or found.component),) if found.place else ()


def _evidence(found: OomReport) -> Iterable[str]:
    if found.live_bytes is not None:
        yield f"held: {_listed(found.by_category)} ({format_size(found.live_bytes)} live)"
        yield f"by component: {_listed(found.by_component)}"
    if found.free is not None:
        free = found.free
        largest = f", the largest {format_size(free.largest_free_bytes)}" if free.largest_free_bytes is not None else ""
        pieces = f" in {free.pieces} pieces" if free.pieces is not None else ""
        yield f"{format_size(free.reserved_bytes)} reserved, {format_size(free.free_bytes)} of it free{pieces}{largest}"
    if found.by_fragmentation:
        yield "free on the device and free in pieces together are enough: in one piece it would have fit"
    if found.lower_bound:
        yield f"lower bounds: {found.lower_bound}"


def _listed(sums: dict[str, int] | None, most: int = 4) -> str:
    return ", ".join(f"{name} {format_size(size)}" for name, size in list((sums or {}).items())[:most])


def _changes(found: OomReport, context: Context) -> Iterable[str]:
    """What shrinks what asked, then what held the rest."""
    spec = context.spec
    batch = spec.get("batch")
    if found.phase in (layout.LOAD, layout.QUANTIZE):
        yield "--quantize-on per-layer (or cpu), or --offload model: the device then never holds the unquantized model"
    elif found.component == "vae":
        many = isinstance(batch, int) and batch > 1
        yield f"--vae-slicing decodes the {batch} pictures one at a time" if many else "--vae-tiling decodes tile by tile"
    elif isinstance(batch, int) and batch > 1:
        yield f"a smaller --batch than {batch}"
    if found.phase not in (layout.LOAD, layout.QUANTIZE) and spec.get("offload") in (None, "none"):
        yield "--offload model keeps only the component that works on the device"
    if found.by_fragmentation:
        yield _EXPANDABLE


RULE = RULES.add(
    "out-of-memory",
    Rule(name="out-of-memory", summary="an allocation that failed", check=check, needs=(OUTCOME,), priority=1),
)

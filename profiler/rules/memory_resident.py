"""Text encoders that stay on the device while the transformer and the VAE work."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from profiler.core.finding import Finding, Place
from profiler.core.units import format_size
from profiler.metrics.memory.labels import WEIGHTS
from profiler.rules.base import RULES, Rule
from profiler.rules.context import DECODE, STEP, TEXT, Context
from profiler.rules.memory_facts import CALL_EVENTS, LEAST, WEIGHTS_LIST, AtPeak, at_peak, ids, size_of


def check(context: Context) -> Iterable[Finding]:
    """Components whose weights live at the peak and that work in text encoding alone."""
    found = at_peak(context.run, context.rank)
    encoders = _encoders(found)
    weights = found.live.filter((pl.col("category") == WEIGHTS) & pl.col("component").is_in(encoders))
    held = size_of(weights)
    if found.window == TEXT or held < LEAST * found.peak.requested_bytes:
        return
    low, high = _saving(found, held)
    yield Finding(
        rule=RULE.name,
        title=f"text encoders stay on the device after encoding: {format_size(held)} at the peak, in {found.peak.window}",
        window=found.window,
        memory=True,
        where=tuple(Place(module=name) for name in encoders),
        held=ids(weights),
        saving_low_bytes=low,
        saving_high_bytes=high,
        evidence=(
            ", ".join(f"{name} {format_size(size_of(found.weights(name)))}" for name in encoders),
            f"text encoding itself peaks at {format_size(found.windows[TEXT])}: while the transformer lies beside them, the peak "
            "falls no further than to that",
            "by arithmetic --offload model "
            f"leaves a peak of {format_size(_offloaded(found))}: each component is there while it works",
        ),
        change="move them to the CPU once the prompt is encoded (the low end), or encode prompts beforehand and pass "
        "prompt_embeds to a pipeline without them (the high end); --offload model moves the other components too, and copies "
        f"{format_size(held)} of encoders to the device in each call",
        doc="docs/memory-recipes.md",
    )


def _encoders(found: AtPeak) -> list[str]:
    """The biggest first."""
    named = found.peak.by_component
    return [name for name in named if found.weights(name).height and found.works_in(name) == {TEXT}]


def _offloaded(found: AtPeak) -> int:
    """The highest window without the weights of the components that do nothing in it."""
    components = [name for name in found.peak.by_component if found.weights(name).height]
    working = {name: found.works_in(name) for name in components}
    away = {
        window: sum(size_of(found.weights(name)) for name in components if window not in working[name])
        for window in (TEXT, STEP, DECODE)
    }
    return max(found.windows[window] - size for window, size in away.items() if window in found.windows)


def _saving(found: AtPeak, held: int) -> tuple[int, int]:
    """By how much the peak falls where they leave after encoding, and where they were never there."""
    others = [size - held for name, size in found.windows.items() if name != TEXT]
    without = max(others, default=0)
    peak = found.peak.requested_bytes
    return max(0, peak - max(without, found.windows[TEXT])), peak - without


RULE = RULES.add(
    "memory-resident",
    Rule(
        name="memory-resident",
        summary="text encoders on the device while others work",
        check=check,
        needs=(CALL_EVENTS, WEIGHTS_LIST),
        priority=40,
    ),
)

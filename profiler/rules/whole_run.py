"""Findings about the run as a whole, from its manifest."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.metrics.compiles import limits
from profiler.metrics.phases import timed
from profiler.metrics.power_limit import clock_reasons
from profiler.rules.base import BASE, CLOCKS, COMPILE_LOG, RULES, TIMED, TRACE, Rule
from profiler.rules.context import CALL, DECODE, STEP, TEXT, Context
from profiler.rules.eager_rows import SAVING, eager_rows

# Reasons of NVIDIA's clock event bit mask that slow a run down; idle (1) and application clocks (2) do not.
_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
}


def warmup_in_timed(context: Context) -> Iterable[Finding]:
    """The first timed call is much slower than the rest: something was still warming up."""
    calls = context.manifest.timed["iterations_ns"]
    rest = statistics.median(calls[1:]) if len(calls) > 2 else None
    if rest and calls[0] > 1.1 * rest:
        yield Finding(
            rule="warmup-in-timed",
            title=f"the first timed call took {calls[0] / rest:.2f} times the others",
            window=CALL,
            once=True,
            cost_ns=calls[0] - rest,
            saving=Saving(share_low=0.9, share_high=1.05),
            evidence=(f"calls: {', '.join(f'{each / 1e6:,.1f}' for each in calls)} ms",),
            change="--warmup 2, or more",
        )


def nothing_compiled(context: Context) -> Iterable[Finding]:
    """Compiling was asked for and no compiled region runs."""
    asked = context.spec.get("compile") not in (None, "none", "as built")
    # Where the recompile limit is the cause, its own rule says so.
    if asked and not context.compiled and not (context.has(COMPILE_LOG) and limits(context.run, context.rank).height):
        yield Finding(
            rule="nothing-compiled",
            title=f"--compile {context.spec['compile']} was asked for, and nothing compiled runs in the trace",
            window=context.main,
            claims=tuple(row.id for row in eager_rows(context, context.main)),
            saving=SAVING,
            evidence=(f"{context.manifest.applied.get('graphs', 0)} graphs were compiled",),
            change="look at the compile log for a skipped frame or the recompile limit",
        )


def dominated(context: Context) -> Iterable[Finding]:
    """Text encoding or decoding takes a large part of a call whose transformer was made fast."""
    parts = {name: context.duration_ns(name) * context.repeats(name) for name in context.windows()}
    total = context.call_ns
    for name, component in ((TEXT, "text encoding"), (DECODE, "the VAE's decoding")):
        share = parts.get(name, 0.0) / total if total else 0.0
        if share > 0.2:
            yield Finding(
                rule="dominated-by-other",
                title=f"{component} is {share:.0%} of a call of {context.repeats(STEP):.0f} steps",
                window=name,
                evidence=tuple(f"{part}: {each / 1e6:,.1f} ms a call" for part, each in parts.items()),
                change="--compile-vae" if name == DECODE else "encode a prompt once and pass prompt_embeds",
            )


def throttled(context: Context) -> Iterable[Finding]:
    """The GPU lowered its clocks in the timed phase."""
    phase = context.manifest.phase("timed") or context.manifest.phase("traced")
    gpu = (phase.gpu if phase else None) or {}
    mask, clock, most = clock_reasons(gpu.get("clock_event_reasons")), gpu.get("sm_clock_mhz"), gpu.get("sm_clock_max_mhz")
    reasons = [name for bit, name in _REASONS.items() if mask & bit]
    if reasons and isinstance(clock, int | float) and isinstance(most, int | float) and clock < 0.97 * most:
        share = 1 - clock / most
        yield Finding(
            rule="gpu-throttled",
            title=f"the GPU ran at {clock:.0f} of {most:.0f} MHz: {', '.join(reasons)}",
            window=CALL,
            # No cost of its own: it is spread over the rows of all others.
            saving=Saving(extra_high_ns=share * context.call_ns),
            evidence=(
                f"{gpu.get('power_w')} of {gpu.get('power_limit_w')} W, {gpu.get('temperature_c')} C right after the timed calls",
            ),
            change="compare runs at the same clocks; cooling and the power limit are the machine's",
        )


def slower_than_base(context: Context) -> Iterable[Finding]:
    """The run is slower than its base."""
    assert context.base is not None
    mine, other = timed(context.manifest).median_ms, timed(context.base.manifest).median_ms
    if mine and other and mine > 1.02 * other:
        yield Finding(
            rule="slower-than-base",
            title=f"{mine:,.0f} ms a call, and the base {other:,.0f}: {mine / other:.2f} times as long",
            window=CALL,
            evidence=(f"base: {context.base.path}",),
            change="look at the findings above for what eats the gain",
        )


for _name, _check, _summary, _needs, _priority in (
    ("warmup-in-timed", warmup_in_timed, "warm-up inside the timed calls", (TIMED,), 80),
    ("nothing-compiled", nothing_compiled, "compile asked for, nothing compiled", (TRACE,), 3),
    ("dominated-by-other", dominated, "text encoder or VAE dominates", (TRACE,), 80),
    ("gpu-throttled", throttled, "the GPU lowered its clocks", (CLOCKS, TRACE), 80),
    ("slower-than-base", slower_than_base, "slower than the base run", (BASE,), 80),
):
    RULES.add(_name, Rule(name=_name, summary=_summary, check=_check, needs=_needs, priority=_priority))

"""The GPU waits for launches: the host cannot keep up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from profiler.core.finding import Finding, Saving
from profiler.metrics.host_speed import launches, median_us
from profiler.metrics.host_states import AFTER_PAUSE, GUARDS, LAUNCH_COMPILED, LAUNCH_EAGER, PYTHON_BETWEEN, PYTHON_IN_REGION
from profiler.metrics.idle import LATENCY, REPLAY
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import DECODE, TEXT, Context, Row

_EAGER = (LAUNCH_EAGER, PYTHON_BETWEEN, AFTER_PAUSE)
_COMPILED = (LAUNCH_COMPILED, PYTHON_IN_REGION, GUARDS)
# Less than this share of a window is what any run has.
_LEAST = 0.01
# What a launch took as traced, in us, on the H100 hosts that kept ahead of a step of Flux; slowed ones took 9 to 11.
_SOUND_US = (5.0, 8.0)
_SLOW_HOST = "look at the host first: what else runs on it, its CPU's clock and power governor"


def check(context: Context) -> Iterable[Finding]:
    """Idle time under operators, launches and the Python between them, in steps and in text encoding."""
    for window in context.windows():
        if window != DECODE:
            yield from _of(context, window)


def _of(context: Context, window: str) -> Iterable[Finding]:
    duration = context.duration_ns(window)
    eager, compiled = _with_latency(context, window)
    for labels, title, change in (
        (eager, "eager operators are launched more slowly than the GPU runs them", _for_eager(context, window)),
        (compiled, "compiled code is launched more slowly than the GPU runs it", _for_compiled(context, window)),
    ):
        rows = context.select(window, lambda row, labels=labels: row.kind == "idle" and row.label in labels)  # type: ignore[misc]
        cost = sum(row.priced_ns for row in rows)
        if duration and cost / duration >= _LEAST:
            found = _finding(window, rows, title, change, context.ledger(window).pricing.calibrated)
            yield _with_host(context, found) if window == context.main else found


def _with_host(context: Context, finding: Finding) -> Finding:
    """How long a launch takes: a slow host may be all that is wrong."""
    took = median_us(launches(context.run, context.rank))
    if took is None:
        return finding
    low, high = _SOUND_US
    said = f"a launch takes the host {took:.1f} us as traced; hosts of an H100 that kept ahead took {low:.0f} to {high:.0f}"
    change = f"{_SLOW_HOST}; then {finding.change}" if took > high else finding.change
    return replace(finding, evidence=(*finding.evidence, said), change=change)


def _with_latency(context: Context, window: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Both kinds of labels; where a GPU waits for launches it waits for their latency too, which is the dearer kind's."""
    idle = context.select(window, lambda row: row.kind == "idle")
    eager, compiled = (sum(row.priced_ns for row in idle if row.label in labels) for labels in (_EAGER, _COMPILED))
    return ((*_EAGER, LATENCY), _COMPILED) if eager >= compiled else (_EAGER, (*_COMPILED, LATENCY))


def _finding(window: str, rows: list[Row], title: str, change: str, calibrated: bool) -> Finding:
    traced = sum(row.total_ns for row in rows)
    priced = f", {sum(row.priced_ns for row in rows) / 1e6:.2f} ms in untraced time" if calibrated else ""
    return Finding(
        rule=RULE.name,
        title=title,
        window=window,
        claims=tuple(row.id for row in rows),
        # CUDA graphs take away nearly all of it; larger graphs a part.
        saving=Saving(share_low=0.6, share_high=1.0),
        count=round(sum(row.count for row in rows)),
        evidence=(f"{traced / 1e6:.2f} ms idle a {window} as traced{priced}",),
        change=change,
    )


def _for_eager(context: Context, window: str) -> str:
    if window == TEXT:
        return "encode a prompt once and pass prompt_embeds, or compile the text encoders: pipe.text_encoder.compile()"
    if not context.compiled:
        return "compile it: --compile regional or default; with small shapes --compile reduce-overhead"
    return "compile the part that is still eager, or give it fewer and larger operators"


def _for_compiled(context: Context, window: str) -> str:
    if context.select(window, lambda row: row.label == REPLAY):
        return "CUDA graphs are replayed already: compile one region where there are several, so that guards are checked once"
    return "--compile reduce-overhead (CUDA graphs), or compile larger regions (--compile default)"


RULE = RULES.add(
    "launch-bound",
    Rule(name="launch-bound", summary="the host launches too slowly", check=check, needs=(GPU_TRACE,), priority=60),
)

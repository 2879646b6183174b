"""The peak since start lies in loading, quantizing or compiling: it, and no call, says which device the run fits on."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding
from profiler.core.units import format_size
from profiler.metrics.memory import MemorySummary, memory_summary
from profiler.rules.base import RULES, Rule
from profiler.rules.context import Context
from profiler.rules.memory_facts import LEAST, PHASE_PEAKS
from profiler.rundir import layout

_WORDS = {layout.LOAD: "loading", layout.QUANTIZE: "quantizing", layout.WARMUP: "the warm-up"}
_CPU = "--quantize-on cpu quantizes before anything is on the device"


def check(context: Context) -> Iterable[Finding]:
    """A phase before the inference whose peak is higher."""
    summary = memory_summary(context.run, context.rank)
    since, inference, phase = summary.since_start_peak_bytes, summary.inference_peak_bytes, summary.since_start_phase
    if since is None or inference is None or since - inference < LEAST * inference:
        return
    excess = since - inference
    low, high = _saving(summary, excess)
    yield Finding(
        rule=RULE.name,
        title=f"{_WORDS.get(phase, phase)} peaks {format_size(excess)} above any call: it decides what device the run fits on",
        window=phase,
        once=True,
        memory=True,
        cost_bytes=excess,
        saving_low_bytes=low,
        saving_high_bytes=high,
        evidence=tuple(_evidence(summary)),
        change=_change(phase, context),
        doc="docs/memory.md",
    )


def _saving(summary: MemorySummary, excess: int) -> tuple[int, int]:
    """Without the weights unquantized on the device its highest is the call's, or the model with one layer in conversion."""
    phases = {each.name: each for each in summary.phases}
    loaded, quantize = phases.get(layout.LOAD), summary.quantize_peak_bytes
    if summary.since_start_phase == layout.WARMUP:
        return 0, excess
    if loaded is None or loaded.alloc_bytes is None or quantize is None or summary.model_bytes is None:
        return 0, excess
    converting = max(0, quantize - loaded.alloc_bytes)
    left = max(0, summary.model_bytes + converting - (summary.inference_peak_bytes or 0), _warmup(summary))
    return max(0, excess - left), excess


def _warmup(summary: MemorySummary) -> int:
    """What compiling needs more than a call: it stays, however the weights are loaded."""
    return max(0, (summary.warmup_peak_bytes or 0) - (summary.inference_peak_bytes or 0))


def _evidence(summary: MemorySummary) -> Iterable[str]:
    named = {
        "load": summary.load_peak_bytes,
        "quantize": summary.quantize_peak_bytes,
        "warm-up": summary.warmup_peak_bytes,
        f"a call ({summary.inference_phase})": summary.inference_peak_bytes,
    }
    peaks = ", ".join(f"{name} {format_size(size)}" for name, size in named.items() if size is not None)
    yield f"peaks by phase: {peaks}; model memory {format_size(summary.model_bytes)}"
    yield f"max_memory_allocated since the start is {format_size(summary.since_start_peak_bytes)}, and says nothing about a call"
    if summary.since_start_phase in (layout.LOAD, layout.QUANTIZE):
        yield "the saving is by arithmetic: what is left is a call, the warm-up, or the model with one layer in conversion"


def _change(phase: str, context: Context) -> str:
    if phase == layout.WARMUP:
        return "compile and autotune in another process first: with TORCHINDUCTOR_CACHE_DIR kept, the next one need not try again"
    if phase == layout.LOAD and context.spec.get("scheme") in ("bf16", "fp16", None):
        return "--offload model builds the pipeline on the CPU; the device then holds one component at a time"
    if context.spec.get("quantize_on") in (None, "device"):
        return f"--quantize-on per-layer brings one weight at a time, quantized on the device; {_CPU}"
    return _CPU if context.spec.get("quantize_on") == "per-layer" else "--offload model"


RULE = RULES.add(
    "memory-masked",
    Rule(
        name="memory-masked",
        summary="loading, quantizing or compiling needs more memory than a call",
        check=check,
        needs=(PHASE_PEAKS,),
        priority=20,
    ),
)

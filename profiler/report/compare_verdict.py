"""What a comparison comes to, in words: is the win real, and if not, what ate it. The numbers stand in the sentence."""

from __future__ import annotations

import math

from profiler.core.scheme_bytes import DENSE_TWIN, PRUNED
from profiler.metrics.compare import Comparison
from profiler.metrics.quality import LAST_LATENTS, TENSORS
from profiler.report import compare_verdict_memory, compare_verdict_ranks, compare_verdict_time
from profiler.report.compare_words import Verdict

__all__ = ["Verdict", "verdicts"]


def verdicts(comparison: Comparison) -> list[Verdict]:
    """Time, the scheme's part in it, what more ranks bring, memory, loading, quality: those that there is something to say of."""
    found = [
        compare_verdict_time.of_time(comparison),
        compare_verdict_time.of_scheme(comparison),
        compare_verdict_ranks.of_scaling(comparison),
        compare_verdict_memory.of_memory(comparison),
        compare_verdict_memory.of_loading(comparison),
        _of_quality(comparison),
    ]
    return [each for each in found if each is not None]


def _of_quality(comparison: Comparison) -> Verdict:
    levels = comparison.quality.sqnr
    last, first = levels[LAST_LATENTS], levels[TENSORS[0]]
    if last.db is None:
        return Verdict("quality", "not compared", last.why)
    if last.db == math.inf and comparison.quality.psnr.db in (math.inf, None):
        return Verdict("quality", "identical", "latents are equal to the bit")
    if last.db == -math.inf:
        return Verdict("quality", "broken", last.why)
    text = f"SQNR {last.db:.1f} dB of the last latents"
    if first.db is not None and math.isfinite(first.db):
        text += f", {first.db:.1f} dB of the first transformer output"
    text += _after(comparison.quality.steps)
    if comparison.quality.psnr.db is not None:
        text += f"; PSNR {comparison.quality.psnr.db:.1f} dB of the picture"
    if not comparison.run.manifest.spec.get("weights"):
        text += " (random weights: they order schemes, and say nothing about pictures)"
    if comparison.run.manifest.spec.get("scheme") in DENSE_TWIN:
        text += f". {PRUNED}"
    return Verdict("quality", "measured", text)


def _after(steps: int | None) -> str:
    return f", after {steps} step{'' if steps == 1 else 's'}" if steps else ""

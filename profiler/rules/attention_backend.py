"""Attention on the math or memory-efficient backend where flash or cuDNN could run."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context
from profiler.rules.kernels_of import busy, kernel_finding, milliseconds
from profiler.rules.places_of import called_from

_LEAST = 0.01


def check(context: Context) -> Iterable[Finding]:
    """Memory-efficient (`fmha_cutlassF`) attention kernels, per window."""
    for window in context.windows():
        rows = busy(context, window, r"fmha_cutlassF|AttentionKernel<")
        if rows and 1e6 * milliseconds(rows) >= _LEAST * context.duration_ns(window):
            yield called_from(
                context,
                {"aten::_efficient_attention_forward", "aten::_scaled_dot_product_efficient_attention"},
                kernel_finding(
                    RULE.name,
                    window,
                    rows,
                    f"attention runs on the memory-efficient backend: {milliseconds(rows):.1f} ms a {window}",
                    Saving(share_low=0.3, share_high=0.8),
                    "flash and cuDNN take head sizes up to 256 and no dense mask: pass none, or is_causal=True",
                ),
            )


RULE = RULES.add(
    "attention-backend",
    Rule(name="attention-backend", summary="attention on a slow backend", check=check, needs=(GPU_TRACE,), priority=30),
)

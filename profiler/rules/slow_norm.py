"""Normalization kernels that take far longer than their bytes would."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context
from profiler.rules.kernels_of import busy, kernel_finding, milliseconds

_LEAST = 0.02


def check(context: Context) -> Iterable[Finding]:
    """`RowwiseMoments`: GroupNorm with few groups gives each group to one block, so that most of the GPU stands still."""
    for window in context.windows():
        rows = busy(context, window, r"RowwiseMoments")
        if rows and 1e6 * milliseconds(rows) >= _LEAST * context.duration_ns(window):
            yield kernel_finding(
                RULE.name,
                window,
                rows,
                f"GroupNorm's moments take {milliseconds(rows):.1f} ms a {window}: one block a group, most of the GPU idle",
                Saving(share_low=0.6, share_high=0.95),
                "--compile default --compile-vae fuses GroupNorm into kernels that use the whole GPU",
            )


RULE = RULES.add("slow-norm", Rule(name="slow-norm", summary="slow normalization", check=check, needs=(GPU_TRACE,), priority=30))

"""Layout conversions around convolutions: NCHW tensors given to NHWC kernels."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context
from profiler.rules.kernels_of import busy, kernel_finding, milliseconds

_LEAST = 0.01


def check(context: Context) -> Iterable[Finding]:
    """cuDNN's `nchwToNhwc` and back, per window."""
    for window in context.windows():
        rows = busy(context, window, r"nchwToNhwc|nhwcToNchw")
        if rows and 1e6 * milliseconds(rows) >= _LEAST * context.duration_ns(window):
            yield kernel_finding(
                RULE.name,
                window,
                rows,
                f"convolutions convert their layout: {milliseconds(rows):.1f} ms a {window}",
                Saving(share_low=0.5, share_high=1.0),
                "--channels-last",
            )


RULE = RULES.add(
    "layout-conversion",
    Rule(name="layout-conversion", summary="NCHW to NHWC around convolutions", check=check, needs=(GPU_TRACE,), priority=30),
)

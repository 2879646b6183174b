"""An eager step: pointwise work in many small kernels that a compiler would fuse."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.metrics.classes import COPY, NORM, POINTWISE, REDUCTION
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import STEP, Context
from profiler.rules.kernels_of import kernel_finding, milliseconds

_LEAST = 0.05


def check(context: Context) -> Iterable[Finding]:
    """Unfused pointwise, normalization, reduction and copy kernels of a step that runs nothing compiled."""
    if context.compiled:
        return
    rows = context.select(STEP, lambda row: row.kind == "busy" and row.label in (POINTWISE, NORM, REDUCTION, COPY))
    if rows and 1e6 * milliseconds(rows) >= _LEAST * context.duration_ns(STEP):
        yield kernel_finding(
            RULE.name,
            STEP,
            rows,
            f"pointwise, norm and copy kernels take {milliseconds(rows):.1f} ms a step, unfused",
            # Compiled Flux keeps about a third of this time in its fused kernels.
            Saving(share_low=0.4, share_high=0.75),
            "--compile regional (or default) fuses them",
        )


RULE = RULES.add(
    "unfused-eager",
    Rule(
        name="unfused-eager", summary="an eager step whose kernels could be fused", check=check, needs=(GPU_TRACE,), priority=45
    ),
)

"""An eager step: pointwise work in many small kernels that a compiler would fuse."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.metrics.classes import COPY, NORM, POINTWISE, REDUCTION
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context, Row
from profiler.rules.kernels_of import kernel_finding, milliseconds

_LEAST = 0.05


def check(context: Context) -> Iterable[Finding]:
    """Unfused pointwise, normalization, reduction and copy kernels of a step that runs nothing compiled."""
    if context.compiled:
        return
    window = context.main
    rows = context.select(window, _fusable)
    if rows and 1e6 * milliseconds(rows) >= _LEAST * context.duration_ns(window):
        yield kernel_finding(
            RULE.name,
            window,
            rows,
            f"pointwise, norm and copy kernels take {milliseconds(rows):.1f} ms a {window}, unfused",
            # Compiled Flux on an H100 keeps a fifth of this time in its fused kernels (73.6 ms a step become 15.6).
            Saving(share_low=0.5, share_high=0.8),
            "--compile regional (or default) fuses them",
        )


def _fusable(row: Row) -> bool:
    """Kernels; what the copy engine moves would be moved anyway."""
    return row.kind == "busy" and row.label in (POINTWISE, NORM, REDUCTION, COPY) and not row.detail.startswith("Memcpy")


RULE = RULES.add(
    "unfused-eager",
    Rule(
        name="unfused-eager", summary="an eager step whose kernels could be fused", check=check, needs=(GPU_TRACE,), priority=45
    ),
)

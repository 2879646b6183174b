"""An eager step: pointwise work in many small kernels that a compiler would fuse."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context
from profiler.rules.eager_rows import SAVING, fusable
from profiler.rules.kernels_of import kernel_finding, milliseconds

_LEAST = 0.05


def check(context: Context) -> Iterable[Finding]:
    """Unfused pointwise, normalization, reduction and copy kernels of a step that runs nothing compiled."""
    if context.compiled:
        return
    window = context.main
    rows = context.select(window, fusable)
    if rows and 1e6 * milliseconds(rows) >= _LEAST * context.duration_ns(window):
        yield kernel_finding(
            RULE.name,
            window,
            rows,
            f"pointwise, norm and copy kernels take {milliseconds(rows):.1f} ms a {window}, unfused",
            SAVING,
            "--compile regional (or default) fuses them",
        )


RULE = RULES.add(
    "unfused-eager",
    Rule(
        name="unfused-eager", summary="an eager step whose kernels could be fused", check=check, needs=(GPU_TRACE,), priority=45
    ),
)

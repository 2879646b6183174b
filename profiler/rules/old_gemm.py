"""GEMM kernels written for an older architecture than the GPU's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.metrics.kernel_architecture import NAMES, architecture
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context, Row
from profiler.rules.kernels_of import kernel_finding, milliseconds

# A kernel of the right generation against the older one, on Hopper: measured between 0.55 and 0.7 of its time.
_SAVING = Saving(share_low=0.25, share_high=0.5)


def check(context: Context) -> Iterable[Finding]:
    """One finding a GEMM class and window whose kernels carry an older architecture in their names."""
    major = (context.gpu.get("capability") or [None])[0]
    if not isinstance(major, int):
        return
    for window in context.windows():
        groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in context.rows(window):
            made_for = architecture(row.detail)
            # fp32 without tensor cores has a rule of its own: no newer kernel would help it.
            if row.kind == "busy" and row.label.startswith("GEMM") and row.label != "GEMM fp32" and made_for and made_for < major:
                groups[row.label, made_for].append(row)
        for (label, made_for), rows in groups.items():
            yield _finding(context, window, label, made_for, major, rows)


def _finding(context: Context, window: str, label: str, made_for: int, major: int, rows: list[Row]) -> Finding:
    share = 1e6 * milliseconds(rows) / context.duration_ns(window) if context.duration_ns(window) else 0.0
    old, new = NAMES.get(made_for, f"sm{made_for}0"), NAMES.get(major, f"sm{major}0")
    return kernel_finding(
        RULE.name,
        window,
        rows,
        f"{label} runs on {old} kernels on a {new} GPU: {milliseconds(rows):.1f} ms a {window}, {share:.0%} of it",
        _SAVING,
        "--scheme fp8dqrow has Hopper kernels"
        if "int8" in label and major >= 9
        else "use a dtype or a library version that has kernels for this GPU",
    )


RULE = RULES.add(
    "old-architecture-gemm",
    Rule(name="old-architecture-gemm", summary="GEMM kernels older than the GPU", check=check, needs=(GPU_TRACE,), priority=30),
)

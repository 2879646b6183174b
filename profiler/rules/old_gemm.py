"""GEMM kernels written for an older architecture than the GPU's."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.core.shape_options import shape_options
from profiler.metrics.kernel_architecture import NAMES, architecture
from profiler.metrics.tuned_estimate import TunedEstimate, tuned_estimate
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import STEP, Context, Row
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
    int8 = "int8" in label and major >= 9
    estimate = tuned_estimate(context.manifest) if int8 and window == STEP else None
    share = 1e6 * milliseconds(rows) / context.duration_ns(window) if context.duration_ns(window) else 0.0
    old, new = NAMES.get(made_for, f"sm{made_for}0"), NAMES.get(major, f"sm{major}0")
    return kernel_finding(
        RULE.name,
        window,
        rows,
        f"{label} runs on {old} kernels on a {new} GPU: {milliseconds(rows):.1f} ms a {window}, {share:.0%} of it",
        _saving(estimate, rows) if estimate else _SAVING,
        _change(context, estimate) if int8 else "use a dtype or a library version that has kernels for this GPU",
        _evidence(estimate),
    )


def _saving(estimate: TunedEstimate, rows: list[Row]) -> Saving:
    """What is left of the kernels' cost once tuned ones compute the products, and the scaling that is spared besides."""
    cost = 1e6 * milliseconds(rows)
    low, high = (max(0.0, 1 - ns / cost) if cost else 0.0 for ns in reversed(estimate.products))
    return Saving(share_low=low, share_high=high, extra_low_ns=estimate.scaling[0], extra_high_ns=estimate.scaling[1])


def _change(context: Context, estimate: TunedEstimate | None) -> str:
    model = shlex.quote(str(context.spec.get("model") or "MODEL"))
    if estimate and estimate.table and estimate.known == estimate.shapes:
        return f"record it with --tuned auto: {estimate.table.name} has kernels of these shapes for this GPU"
    tune = f"diffuscope tune {model}{shape_options(context.spec)}"
    return f"`{tune}` finds int8 kernels for this GPU, which record --tuned auto then runs; --scheme fp8dqrow has some at once"


def _evidence(estimate: TunedEstimate | None) -> tuple[str, ...]:
    if estimate is None:
        return ()
    low, high = (ns / 1e6 for ns in estimate.products)
    source = "at the rate of this GPU's fastest 8-bit product, or 0.7 of it"
    if estimate.table:
        known = f"as measured in {estimate.table.name}"
        some = f"{known} for {estimate.known} of {estimate.shapes} shapes, the others {source}"
        source = known if estimate.known == estimate.shapes else some
    return (f"tuned, these products take {low:.1f} to {high:.1f} ms a step: {source}",)


RULE = RULES.add(
    "old-architecture-gemm",
    Rule(name="old-architecture-gemm", summary="GEMM kernels older than the GPU", check=check, needs=(GPU_TRACE,), priority=30),
)

"""Quantizing activations costs time of its own."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.metrics.classes import QUANTIZE
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context
from profiler.rules.kernels_of import kernel_finding, milliseconds

_LEAST = 0.02
_EAGER = "compile what produces the activation together with the Linear, so that quantizing fuses into it"
_COMPILED = (
    "what is left quantizes the output of a GEMM or of attention, which compiling does not fuse with: "
    "give the Linears behind it a weight-only scheme, or leave them in bf16"
)


def check(context: Context) -> Iterable[Finding]:
    """Kernels that do nothing but quantize, in steps: time that fusion into the producer would take away."""
    window = context.main
    rows = context.select(window, lambda row: row.kind == "busy" and row.label == QUANTIZE)
    if rows and 1e6 * milliseconds(rows) >= _LEAST * context.duration_ns(window):
        gemm = context.select(window, lambda row: row.kind == "busy" and row.label in ("GEMM fp8", "GEMM int8"))
        yield kernel_finding(
            RULE.name,
            window,
            rows,
            f"kernels that only quantize take {milliseconds(rows):.1f} ms a {window}",
            Saving(share_low=0.2, share_high=0.9),
            _COMPILED if context.compiled else _EAGER,
            more=(f"the quantized GEMMs themselves take {milliseconds(gemm):.1f} ms a {window}",),
        )


RULE = RULES.add(
    "quantize-overhead",
    Rule(name="quantize-overhead", summary="quantization kernels not fused", check=check, needs=(GPU_TRACE,), priority=40),
)

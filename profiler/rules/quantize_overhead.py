"""Quantizing activations costs time of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from profiler.core.finding import Finding, Saving
from profiler.metrics.classes import QUANTIZE, SPARSE
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context, Row
from profiler.rules.kernels_of import kernel_finding, milliseconds
from profiler.rules.packed_weights import packed_weights
from profiler.rules.quantizing_stretches import quantizing_ms

_LEAST = 0.02
_FOR_NOTHING = "no quantized GEMM uses what they make: quantize weights once, when the model is loaded"
# Kernels that make the bf16 copy of a packed weight, in every call: what a weight-only scheme pays for its memory.
_UNPACKING = ("dequantize_packed_kernel", "dequantize_tiles_kernel")
_PAY = "where memory allows, a dynamic scheme (fp8dqrow) multiplies what is stored"
_BEFORE = "each product of more than a few rows has a pass before it that writes the weight in bf16; the product itself is bf16's"
_QUANTIZED = tuple(f"GEMM {dtype}{kind}" for dtype in ("fp8", "int8") for kind in ("", SPARSE))
# Fused kernels that find a range or round to it, beside their own work.
_ROUNDING = re.compile(r"^triton_\w*(amax|amin|clamp\w*round)")
_UNUSED = "no product uses the 8 bits: a weight-only scheme (int4wo) multiplies the same way and rounds no activation"
_EAGER = "compile what produces the activation together with the Linear, so that quantizing fuses into it"
_COMPILED = (
    "what is left quantizes the output of a GEMM or of attention, which compiling does not fuse with: "
    "give the Linears behind it a weight-only scheme, or leave them in bf16"
)


def check(context: Context) -> Iterable[Finding]:
    """Kernels that do nothing but quantize, in steps: time that fusion into the producer would take away."""
    window = context.main
    rows = context.select(window, lambda row: row.kind == "busy" and row.label == QUANTIZE)
    unpacking = [row for row in rows if any(name in row.detail for name in _UNPACKING)]
    rows = [row for row in rows if row not in unpacking]
    gemm = context.select(window, lambda row: row.kind == "busy" and row.label in _QUANTIZED)
    rounding = _rounding(context) if unpacking and not gemm else []
    if _matters(context, rounding):
        title = (
            f"activations are rounded to 8 bits and multiplied in bf16: in kernels of {milliseconds(rounding):.1f} ms a {window}"
        )
        # Most of them would run without that, and do less.
        yield kernel_finding(RULE.name, window, rounding, title, Saving(share_low=0.3, share_high=0.6), _UNUSED)
    elif _matters(context, rows):
        yield kernel_finding(
            RULE.name,
            window,
            rows,
            f"kernels that only quantize take {milliseconds(rows):.1f} ms a {window}",
            *_remedy(context, bool(gemm)),
            more=(*_unfused(context, window), f"the quantized GEMMs themselves take {milliseconds(gemm):.1f} ms a {window}"),
        )
    if _matters(context, unpacking):
        yield _of_unpacking(context, unpacking)


def _unfused(context: Context, window: str) -> tuple[str, ...]:
    """In an eager step these kernels are the least of it: scaling and rounding are pointwise kernels like any other."""
    took = 0.0 if context.compiled else quantizing_ms(context, window)
    return (
        (f"from choosing a scale to the product, quantizing takes {took:.1f} ms a {window}, most of it in other kernels",)
        if took
        else ()
    )


def _rounding(context: Context) -> list[Row]:
    """Kernels that round activations, with those that find their range; none where nothing is rounded."""
    rows = context.select(context.main, lambda row: row.kind == "busy" and bool(_ROUNDING.search(row.detail)))
    return rows if any("round" in row.detail for row in rows) else []


def _of_unpacking(context: Context, rows: list[Row]) -> Finding:
    """The price of packed weights, with what it buys."""
    window, packed = context.main, packed_weights(context.manifest.applied)
    title = f"unpacking weights takes {milliseconds(rows):.1f} ms a {window}"
    more, change = [_BEFORE], _PAY
    if packed:
        saved = packed.dense - packed.stored
        title += f", the price of {saved:.2f} GiB saved"
        more.append(f"the quantized weights take {packed.stored:.2f} GiB, in bf16 {packed.dense:.2f}")
        change += f": with a byte a weight, {packed.bytewise - packed.stored:.2f} GiB more"
    return kernel_finding(RULE.name, window, rows, title, Saving(share_low=0.8, share_high=1.0), change, more)


def _matters(context: Context, rows: list[Row]) -> bool:
    return bool(rows) and 1e6 * milliseconds(rows) >= _LEAST * context.duration_ns(context.main)


def _remedy(context: Context, multiplied: bool) -> tuple[Saving, str]:
    """What the change may save, and the change. Beside its kernels, quantizing costs their launches."""
    if not multiplied:
        return Saving(share_low=0.75, share_high=1.2), _FOR_NOTHING
    # Weight-only kernels give a part of the GEMM's gain back.
    return (
        (Saving(share_low=0.3, share_high=0.5), _COMPILED)
        if context.compiled
        else (Saving(share_low=0.6, share_high=1.0), _EAGER)
    )


RULE = RULES.add(
    "quantize-overhead",
    Rule(name="quantize-overhead", summary="quantization kernels not fused", check=check, needs=(GPU_TRACE,), priority=40),
)

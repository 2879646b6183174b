"""Dynamically quantized GEMMs with very few rows: quantizing costs more than the product."""

from __future__ import annotations

import json
from collections.abc import Iterable

import polars as pl

from profiler.core.finding import Finding, Saving
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context
from profiler.rules.kernels_of import kernel_finding, milliseconds
from profiler.rules.launched_inside import operators, rows_inside

# Up to this many rows a product is bound by reading its weight, whatever the dtype of the activations.
_ROWS = 32
_GEMMS = ("aten::_int_mm", "aten::_scaled_mm")


def check(context: Context) -> Iterable[Finding]:
    """Kernels that only serve quantized products of few rows, in steps."""
    spans = operators(context, _GEMMS)
    tiny = spans.filter(pl.Series([rows_of(dims) <= _ROWS for dims in spans["input_dims"]], dtype=pl.Boolean))
    window = context.main
    rows = rows_inside(context, window, tiny)
    if rows:
        yield kernel_finding(
            RULE.name,
            window,
            rows,
            f"quantized GEMMs of at most {_ROWS} rows: {milliseconds(rows):.2f} ms a {window}",
            Saving(share_low=0.1, share_high=0.8),
            "give these Linears (adaLN modulations, time embeddings) the weight-only scheme",
        )


def rows_of(dims: str | None) -> int:
    """M of a product by its operator's input dims; large where the trace does not tell."""
    shapes = json.loads(dims) if dims else []
    first = shapes[0] if shapes else []
    return int(first[0]) if first and isinstance(first[0], int) else 1 << 30


RULE = RULES.add(
    "tiny-quantized-gemm",
    Rule(name="tiny-quantized-gemm", summary="quantized GEMMs of few rows", check=check, needs=(GPU_TRACE,), priority=22),
)

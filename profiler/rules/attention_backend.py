"""Attention on the math or memory-efficient backend where flash or cuDNN could run."""

from __future__ import annotations

import json
from collections.abc import Iterable

import polars as pl

from profiler.core.finding import Finding, Saving
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import Context, Row
from profiler.rules.kernels_of import kernel_finding, milliseconds
from profiler.rules.launched_inside import operators, rows_inside
from profiler.rules.places_of import called_from

_LEAST = 0.01
_LARGEST_HEAD = 256
_MATH = ("aten::_scaled_dot_product_attention_math",)
# T5-XXL on an H100 with its permuted position bias: 0.593 ms a call by math, 0.034 ms by cuDNN once the bias is contiguous.
_SAVINGS = {"math": Saving(share_low=0.6, share_high=0.95), "memory-efficient": Saving(share_low=0.5, share_high=0.8)}
_CHANGES = {
    "math": "give query, key, value and mask one 16-bit dtype and a contiguous last dimension: T5 permutes its position bias, "
    "so try position_bias.contiguous() where it is made",
    "memory-efficient": "flash and cuDNN take 16-bit inputs, head sizes up to 256, and flash no dense mask: pass none, "
    "or is_causal=True",
}
_EFFICIENT = ("aten::_efficient_attention_forward", "aten::_scaled_dot_product_efficient_attention")


def check(context: Context) -> Iterable[Finding]:
    """Attention by separate GEMMs and a softmax (math), and memory-efficient kernels, per window."""
    math, efficient = (_flashable(operators(context, names)) for names in (_MATH, _EFFICIENT))
    for window in context.windows():
        yield from _finding(context, window, rows_inside(context, window, math), "math", _MATH)
        yield from _finding(context, window, rows_inside(context, window, efficient), "memory-efficient", _EFFICIENT)


def _flashable(spans: pl.DataFrame) -> pl.DataFrame:
    """Calls whose heads are small enough for flash and cuDNN; larger ones (a VAE's single head) have no faster backend."""
    return spans.filter(pl.Series([head_size(dims) <= _LARGEST_HEAD for dims in spans["input_dims"]], dtype=pl.Boolean))


def head_size(dims: str | None) -> int:
    """The last dimension of the query by the operator's input dims; 0 where the trace does not tell."""
    shapes = json.loads(dims) if dims else []
    query = shapes[0] if shapes else []
    return int(query[-1]) if query and isinstance(query[-1], int) else 0


def _finding(context: Context, window: str, rows: list[Row], backend: str, calls: tuple[str, ...]) -> Iterable[Finding]:
    if not rows or 1e6 * milliseconds(rows) < _LEAST * context.duration_ns(window):
        return
    found = kernel_finding(
        RULE.name,
        window,
        rows,
        f"attention runs on the {backend} backend: {milliseconds(rows):.1f} ms a {window}",
        _SAVINGS[backend],
        _CHANGES[backend],
    )
    yield called_from(context, set(calls), found)


# Before the rule about fp32 GEMMs: the math backend upcasts, and these GEMMs are its own.
RULE = RULES.add(
    "attention-backend",
    Rule(name="attention-backend", summary="attention on a slow backend", check=check, needs=(GPU_TRACE,), priority=24),
)

"""FLOPs of the operators that multiply: matrix products, convolutions, attention."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

from profiler.metrics.floor_calls import SIZES, Call, Tensor

# Where the two factors stand.
_MATMULS = {
    "aten::mm": 0,
    "aten::bmm": 0,
    "aten::_int_mm": 0,
    "aten::_scaled_mm": 0,
    "aten::addmm": 1,
    "aten::_addmm_activation": 1,
    "aten::baddbmm": 1,
}
# Where stride, padding and dilation stand, and the flag of a transposed one.
_CONVOLUTIONS = {
    "aten::cudnn_convolution": (3, 2, 4, None),
    "aten::convolution": (3, 4, 5, 6),
    "aten::_convolution": (3, 4, 5, 6),
}
# Whether heads come before the sequence, and where the causal flag stands.
_ATTENTION = {
    "aten::_cudnn_attention_forward": (True, 10),
    "aten::_flash_attention_forward": (False, 8),
    "aten::_efficient_attention_forward": (False, 9),
    "aten::_scaled_dot_product_cudnn_attention": (True, 6),
    "aten::_scaled_dot_product_flash_attention": (True, 4),
    "aten::_scaled_dot_product_efficient_attention": (True, 6),
}
# Elements of what narrow factors give, where no output was passed.
_RESULTS = {"signed char": "int", "c10::Float8_e4m3fn": "c10::BFloat16", "c10::Float8_e5m2": "c10::BFloat16"}
_WEIGHT_ONLY = "small_m_linear"
_SCALED_INT8 = "diffuscope::int_scaled_matmul"
# Products with a 2:4 sparse weight, and where that stands; its first dimension are the outputs.
_SPARSE = {"diffuscope::sparse_matmul": 1, "torchao::rowwise_scaled_linear_sparse_cutlass_f8f8": 2}
_TILES = "aten::_weight_int4pack_mm"


@dataclass(frozen=True)
class Work:
    """What a call cannot do without: FLOPs in `dtype` (as Kineto writes it) and bytes read and written."""

    flops: float
    dtype: str
    size_bytes: float


def product(call: Call) -> Work | None:
    """The work of an operator that multiplies; None for any other, and where its shapes do not tell."""
    for known, work in _KINDS:
        if known(call.op):
            return work(call)
    return None


def _matmul(call: Call) -> Work | None:
    first = _MATMULS[call.op]
    a, b = _pair(call, first)
    if a is None or b is None or len(a.shape) < 2 or len(a.shape) != len(b.shape) or a.shape[-1] != b.shape[-2]:
        return None
    result = (*a.shape[:-1], b.shape[-1])
    written = any(each.shape == result for n, each in enumerate(call.arguments) if each and n not in (first, first + 1))
    extra = 0 if written else math.prod(result) * SIZES[_RESULTS.get(a.dtype, a.dtype)]
    return Work(2.0 * math.prod(a.shape) * b.shape[-1], a.dtype, _given(call) + extra)


def _scaled_int8(call: Call) -> Work | None:
    """The sums are scaled where they are made: what is written is bf16."""
    a, b = _pair(call, 0)
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2 or a.shape[1] != b.shape[0]:
        return None
    result = a.shape[0] * b.shape[1]
    return Work(2.0 * result * a.shape[1], a.dtype, _given(call) + result * SIZES["c10::BFloat16"])


def _weight_only(call: Call) -> Work | None:
    """A weight stored as rows of outputs, each used once for every row of the activation."""
    x, weight = _pair(call, 0)
    if x is None or weight is None or not x.shape or not weight.shape:
        return None
    # Not the elements of the weight: packed ones hold several in a word.
    return Work(2.0 * math.prod(x.shape) * weight.shape[0], x.dtype, _given(call))


def _sparse(call: Call) -> Work | None:
    """A 2:4 weight is read as it is stored; FLOPs are those of the dense product, its zeros counted. The result is bf16."""
    at = _SPARSE[call.op]
    if len(call.arguments) <= at:
        return None
    x, weight = call.arguments[0], call.arguments[at]
    if x is None or weight is None or len(x.shape) < 2 or len(weight.shape) != 2:
        return None
    result = math.prod(x.shape[:-1]) * weight.shape[0]
    return Work(2.0 * result * x.shape[-1], x.dtype, _given(call) + result * SIZES["c10::BFloat16"])


def _tiles(call: Call) -> Work | None:
    """tinygemm's weight is laid out in tiles: how many outputs it has stands in its scales, (groups, outputs, 2)."""
    x, scales = _pair(call, 0)[0], call.arguments[3] if len(call.arguments) > 3 else None
    if x is None or scales is None or len(x.shape) != 2 or len(scales.shape) != 3:
        return None
    result = x.shape[0] * scales.shape[1]
    return Work(2.0 * result * x.shape[1], x.dtype, _given(call) + result * SIZES[x.dtype])


def _convolution(call: Call) -> Work | None:
    stride_at, padding_at, dilation_at, transposed_at = _CONVOLUTIONS[call.op]
    x, weight = _pair(call, 0)
    if x is None or weight is None or len(x.shape) != len(weight.shape):
        return None
    if transposed_at is not None and call.value(transposed_at) != "False":
        return None
    space = len(x.shape) - 2
    stride, padding, dilation = (_sizes(call.value(each), space) for each in (stride_at, padding_at, dilation_at))
    if not (stride and padding and dilation) or 0 in stride:
        return None
    spans = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    result = (x.shape[0], weight.shape[0], *((size + 2 * pad - d * (k - 1) - 1) // s + 1 for size, k, s, pad, d in spans))
    if min(result) < 1:
        return None
    # The weight holds the channels of one group only: groups need no part here.
    flops = 2.0 * math.prod(result) * math.prod(weight.shape[1:])
    return Work(flops, x.dtype, _given(call) + math.prod(result) * SIZES[x.dtype])


def _attention(call: Call) -> Work | None:
    heads_first, causal_at = _ATTENTION[call.op]
    query, key = _pair(call, 0)
    value = call.arguments[2] if len(call.arguments) > 2 else None
    if query is None or key is None or value is None or {len(each.shape) for each in (query, key, value)} != {4}:
        return None
    sequence, head = (2, 1) if heads_first else (1, 2)
    pairs = query.shape[0] * query.shape[head] * query.shape[sequence] * key.shape[sequence]
    share = 1.0 if call.value(causal_at) in ("False", "0", "") else 0.5
    result = math.prod(query.shape[:3]) * value.shape[3]
    flops = 2.0 * pairs * (query.shape[3] + value.shape[3]) * share
    return Work(flops, query.dtype, _given(call) + result * SIZES[query.dtype])


def _pair(call: Call, first: int) -> tuple[Tensor | None, Tensor | None]:
    found = call.arguments[first : first + 2]
    return (found[0], found[1]) if len(found) == 2 else (None, None)


def _given(call: Call) -> int:
    return sum(each.size_bytes for each in call.tensors)


def _sizes(text: str, count: int) -> list[int]:
    """`[1, 1]` as written for a list of numbers; one number counts for every dimension."""
    try:
        found = json.loads(text)
    except ValueError:
        return []
    sizes = found if isinstance(found, list) else [found]
    whole = [each for each in sizes if isinstance(each, int)]
    return whole * count if len(whole) == 1 else whole if len(whole) == count else []


_KINDS: list[tuple[Callable[[str], bool], Callable[[Call], Work | None]]] = [
    (_MATMULS.__contains__, _matmul),
    (_CONVOLUTIONS.__contains__, _convolution),
    (_ATTENTION.__contains__, _attention),
    (_SCALED_INT8.__eq__, _scaled_int8),
    (_SPARSE.__contains__, _sparse),
    (_TILES.__eq__, _tiles),
    (lambda op: _WEIGHT_ONLY in op, _weight_only),
]

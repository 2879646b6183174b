"""Bytes that a kernel must read and write which multiplies nothing: pointwise, reduction, norm, copy, eager or fused by Inductor.

The least that fits its arguments: each tensor once, outputs that eager operators do not pass from the rules of broadcasting.
"""

from __future__ import annotations

import math
import re

from profiler.metrics.classes import NORM, POINTWISE, QUANTIZE, REDUCTION
from profiler.metrics.floor_calls import SIZES, Call, Tensor

_WRITING = frozenset({"aten::fill_", "aten::zero_", "aten::normal_", "aten::uniform_", "aten::bernoulli_"})
# The output has the shape of the first input.
_LIKE_FIRST = frozenset({"aten::_softmax", "aten::_log_softmax", "aten::cumsum"})
# What is read depends on the values, or the output on what a trace does not hold.
_UNKNOWN = frozenset(
    {"aten::index", "aten::index_select", "aten::gather", "aten::embedding", "aten::scatter", "aten::take", "aten::arange"}
)
_BOOLEAN = re.compile(r"^aten::(eq|ne|lt|le|gt|ge|logical_\w+|isneginf|isposinf|isnan|isinf)$")
# Kernels that are passed all that they touch: Inductor's, and ours that unpack a weight (Inductor numbers them).
_FUSED = re.compile(r"^triton_(poi|red|per|mix|split)|^dequantize_(packed|tiles)_kernel")
# What kernels of `aten::cat` move: an opaque type of so many bytes, or a dtype.
_OPAQUE = re.compile(r"OpaqueType<(\d+)u?>")
_COPIED = re.compile(r"lambda\(([\w:<> ]+?)\)#\d+\}")


def moved(call: Call) -> int | None:
    """Bytes read and written; None where the arguments do not tell."""
    if _FUSED.match(call.op):
        return _fused(call)
    if not call.op.startswith("aten::") or call.op in _UNKNOWN:
        return None
    if call.op == "aten::cat":
        return _cat(call)
    return _eager(call) if call.tensors else None


def _eager(call: Call) -> int | None:
    given = sum(each.size_bytes for each in call.tensors)
    if call.op in _WRITING:
        return call.tensors[0].size_bytes
    if call.op == "aten::copy_":  # its output is its first argument, and not read
        return given
    if call.label == NORM or call.op in _LIKE_FIRST:
        return given + _whole(call.tensors[0])
    if call.label == REDUCTION:  # the result is small, and its shape is not recorded
        return given
    return given + _broadcast(call) if call.label in (POINTWISE, QUANTIZE) else None


def _fused(call: Call) -> int:
    """Inductor passes outputs too.

    A kernel that takes a slice of a tensor is passed all of it, but touches no more elements of one than it has iterations: the
    product of the sizes that it is launched with.
    """
    sizes = [int(value) for value in call.values if value.isdecimal()]
    iterations = math.prod(sizes) if sizes else None
    return sum(min(each.distinct, iterations or each.distinct) * SIZES[each.dtype] for each in call.tensors)


def _cat(call: Call) -> int | None:
    """Everything is read and written once."""
    size = element_bytes(call.kernel)
    shapes = (call.lists or {}).get(0, ())
    return 2 * size * sum(math.prod(shape) for shape in shapes) if size else None


def element_bytes(kernel: str) -> int:
    """Bytes of an element that a kernel of `aten::cat` moves; 0 where its name does not tell."""
    opaque = _OPAQUE.search(kernel)
    if opaque:
        return int(opaque[1])
    copied = _COPIED.search(kernel)
    return SIZES.get(copied[1], 0) if copied else 0


def _broadcast(call: Call) -> int:
    """Bytes of the result of a pointwise operator: its operands' shapes broadcast, in the dtype that they promote to."""
    tensors = call.tensors
    rank = max(len(each.shape) for each in tensors)
    padded = [(1,) * (rank - len(each.shape)) + each.shape for each in tensors]
    elements: int = math.prod(max(sizes) for sizes in zip(*padded, strict=True))
    return elements * _result_size(call, tensors)


def _result_size(call: Call, tensors: list[Tensor]) -> int:
    if _BOOLEAN.match(call.op):
        return SIZES["bool"]
    if call.op.endswith("_"):
        return SIZES[tensors[0].dtype]
    # A number, or a tensor without dimensions, does not widen the others.
    operands = [each for each in tensors if each.shape] or tensors
    return max((each.dtype not in _WHOLE, SIZES[each.dtype]) for each in operands)[1]


def _whole(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * SIZES[tensor.dtype]


_WHOLE = frozenset({"signed char", "unsigned char", "bool", "short", "short int", "int", "long", "long int", "long long"})

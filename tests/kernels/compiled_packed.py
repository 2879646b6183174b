"""Compile the kernels over packed weights for an H100 where there is none."""

from __future__ import annotations

from typing import Any

from compiled import Compiled, _compile
from triton.compiler import ASTSource

from profiler.kernels import packed_linear as own
from profiler.kernels.packed_format import PackedFormat
from profiler.kernels.packed_triton import dequantize_packed_kernel, packed_small_m_linear_kernel

_POINTERS = {"words": "*i32", "x": "*bf16", "scale": "*bf16", "bias": "*bf16", "out": "*bf16"}


def compile_dequantize(form: PackedFormat) -> Compiled:
    constants = own._constants(form) | {"factor": own._factor(form), "block": own._BLOCK, "rows": own._ROWS}
    return _compile(_source(dequantize_packed_kernel, constants), num_warps=own._WARPS)


def compile_small_m(form: PackedFormat) -> Compiled:
    before = 1.0 if form.whole else own._BEFORE
    constants = own._constants(form) | {"before": before, "after": own._factor(form) / before, "has_bias": True}
    constants |= {"block_n": own._small_block_n(form), "block": own._SMALL_BLOCK}
    return _compile(_source(packed_small_m_linear_kernel, constants), num_warps=own._SMALL_WARPS)


def _source(kernel: Any, constants: dict[str, Any]) -> Any:
    signature = {name: "constexpr" if name in constants else _POINTERS.get(name, "i32") for name in kernel.arg_names}
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(kernel.arg_names) if name not in constants}
    return ASTSource(kernel, signature, values, aligned)

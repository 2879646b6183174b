"""The space `cublaslt`: `torch._int_mm`, then one kernel that scales its int32 sums."""

from __future__ import annotations

from typing import Any

import torch

from profiler.kernels.candidate import Candidate, Shape
from profiler.kernels.operands import operands

SPACE = "cublaslt"
# What `torch._int_mm` asks for on CUDA.
_FEWEST_ROWS, _MULTIPLE = 17, 8


def candidates(shape: Shape, hardware: Any) -> list[Candidate]:
    """One, where cuBLASLt takes the shape."""
    taken = shape.m >= _FEWEST_ROWS and shape.k % _MULTIPLE == 0 and shape.n % _MULTIPLE == 0
    return [Candidate(f"{SPACE}:scaled", SPACE)] if taken and hardware.capability is not None else []


def matmul(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None, kernel: str
) -> torch.Tensor:
    """`(a @ b) * row_scale * col_scale + bias` in bf16; a (M, K), b (K, N) int8, on CUDA."""
    from profiler.kernels.int_scaled_matmul_triton import scale

    if kernel != f"{SPACE}:scaled":
        raise ValueError(f"no cuBLASLt kernel is called {kernel!r}")
    given = operands(a, b, row_scale, col_scale, bias)
    out = given.empty()
    scale(torch._int_mm(given.a, given.weight.t()), given.row_scale, given.col_scale, given.bias, out)
    return out

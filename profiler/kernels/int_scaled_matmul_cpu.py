"""The CPU's ways to multiply int8 by int8 and scale: which is fastest depends on the processor and the shape.

All three sum exactly. The two integer ones sum in int32; `dequantize` sums in float32, which holds every sum of up to
1024 products of int8, and is no candidate beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from profiler.kernels.candidate import Candidate, Shape

SPACE = "cpu"
# 128 * 128 * 1024 = 2^24, the largest whole number up to which float32 holds all.
_EXACT_K = 1024


def candidates(shape: Shape, _hardware: Any = None) -> list[Candidate]:
    """What can compute this shape exactly on any CPU."""
    names = [name for name in _SUMS if name != "dequantize" or shape.k <= _EXACT_K]
    return [Candidate(f"{SPACE}:{name}", SPACE, {"path": name}) for name in names]


def matmul(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None, kernel: str
) -> torch.Tensor:
    """`(a @ b) * row_scale * col_scale + bias` in bf16, by the candidate called `kernel`.

    Args:
        a: (M, K) int8.
        b: (K, N) int8, either layout.
        row_scale: M float32 values.
        col_scale: N float32 values.
        bias: N values or None.

    Raises:
        ValueError: no CPU candidate is called so.
    """
    sums = _SUMS.get(kernel.removeprefix(f"{SPACE}:")) if kernel.startswith(f"{SPACE}:") else None
    if sums is None:
        raise ValueError(f"no CPU kernel is called {kernel!r}")
    # Few passes over the output: each costs about as much as the product of a small K.
    by_row = sums(a, b) * row_scale.reshape(-1, 1)
    scaled = by_row.mul_(col_scale) if bias is None else torch.addcmul(bias.float(), by_row, col_scale)
    return scaled.to(torch.bfloat16)


def _s8s8(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch._int_mm(a, b)


def _u8s8(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    # A flipped sign bit adds 128: VNNI without AMX multiplies unsigned by signed. What that adds to a sum is known.
    raised = torch._int_mm(a.view(torch.uint8).bitwise_xor(128), b)
    return raised.sub_(b.sum(dim=0, dtype=torch.int32).mul_(128))


def _dequantize(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    # Not as bf16: its product would round each sum to bf16, and then again once scaled.
    return a.float() @ b.float()


_SUMS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "s8s8": _s8s8,
    "u8s8": _u8s8,
    "dequantize": _dequantize,
}

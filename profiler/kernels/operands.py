"""The operands of `int_scaled_matmul` as the GPU kernels take them."""

from __future__ import annotations

from typing import NamedTuple

import torch

# What the copy engine, and 16-byte loads, ask of an address and of a row's length.
ALIGNMENT = 16


class Operands(NamedTuple):
    """Contiguous and aligned: a (M, K) and weight (N, K) int8, row_scale (M,) and col_scale (N,) float32, bias (N,) or None."""

    a: torch.Tensor
    weight: torch.Tensor
    row_scale: torch.Tensor
    col_scale: torch.Tensor
    bias: torch.Tensor | None

    def empty(self, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        """A tensor (M, N) for the result."""
        return torch.empty(self.a.shape[0], self.weight.shape[0], dtype=dtype, device=self.a.device)


def operands(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None
) -> Operands:
    """The operands as they are where they fit, else copies: b (K, N) is usually the transposed view of a weight."""
    return Operands(
        _aligned(a),
        _aligned(b.t()),
        row_scale.reshape(-1).contiguous(),
        col_scale.reshape(-1).contiguous(),
        None if bias is None else bias.contiguous(),
    )


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    fits = tensor.is_contiguous() and tensor.data_ptr() % ALIGNMENT == 0
    return tensor if fits else tensor.clone(memory_format=torch.contiguous_format)

"""A weight-only Linear for very few rows (adaLN modulations, time embeddings).

At M = 1 the GEMM is bound by reading the weight. torchao's weight-only path first writes a bf16 copy of the weight and
then reads it back: five bytes a parameter moved instead of one. Written as a multiply and a sum, Inductor fuses the
conversion into one reduction that reads each quantized byte once.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def use_small_m_form(linear: Any) -> None:
    """Give a quantized `torch.nn.Linear` the fused form when compiled; eagerly it stays torchao's own path."""
    linear.__class__ = _small_m_class()


@cache
def _small_m_class() -> Any:
    # Made at first use: this room's modules are imported to list the schemes, which must not import torch.
    import torch

    class SmallMLinear(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            if not torch.compiler.is_compiling():
                return super().forward(x)
            return fused_rows(x, self.weight.qdata, self.weight.scale, self.bias)

    return SmallMLinear


def fused_rows(x: Any, qdata: Any, scale: Any, bias: Any) -> Any:
    """`x @ (qdata * scale).T + bias` as one reduction a row.

    Args:
        x: activations (..., K), few rows.
        qdata: quantized weight (N, K), int8 or float8.
        scale: one scale an output row, (N, 1) or (N,), or one of all.
        bias: (N,) or None.

    Returns:
        (..., N) in the dtype of `x`; the sum runs in float32.
    """
    import torch

    rows = x.reshape(-1, x.shape[-1])
    # One reduction a row over the same weight: Inductor fuses them into one kernel that reads the weight once.
    sums = [(qdata.to(x.dtype) * row).sum(-1, dtype=torch.float32) for row in rows.unbind(0)]
    out = torch.stack(sums) * scale.to(torch.float32).flatten()
    if bias is not None:
        out = out + bias
    return out.to(x.dtype).reshape(*x.shape[:-1], qdata.shape[0])

"""The forward of weight-only Linears where torchao's own is not sane.

- Few rows (M <= 8): one kernel that reads the quantized weight once, instead of a bf16 copy of it.
- int8 under compile on CUDA: Inductor recognizes torchao's `mm(x, w.to(bf16)) * scale` and replaces it by
  `_weight_int8pack_mm`, which on CUDA is a naive kernel hundreds of times slower than the GEMM (measured on an H100:
  84 ms instead of 0.2 at 4096 x 3072 x 3072). Scaling the weight before the GEMM keeps Inductor from it.
- tile-packed int4 with many rows: unpacked once, since its own kernel unpacks it anew for each 16 rows.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def use_sane_forward(linear: Any) -> None:
    """Give a weight-only quantized `torch.nn.Linear` the forward above; on a CPU it stays torchao's own."""
    linear.__class__ = _weight_only_class()


@cache
def _weight_only_class() -> Any:
    # Made at first use: this room's modules are imported to list the schemes, which must not import torch.
    import torch

    from profiler.kernels.small_m_linear import MAX_ROWS, small_m_linear, supported
    from profiler.kernels.tile_packed import MOST_OWN_ROWS, dequantize_tiles, tile_packed

    class WeightOnlyLinear(torch.nn.Linear):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            weight = self.weight
            if not x.is_cuda:
                return super().forward(x)
            rows = x.numel() // x.shape[-1]
            if rows <= MAX_ROWS and supported(weight.qdata):
                out = small_m_linear(x.reshape(rows, x.shape[-1]), weight.qdata, weight.scale, self.bias)
                return out.reshape(*x.shape[:-1], out.shape[-1])
            if torch.compiler.is_compiling() and weight.qdata.dtype == torch.int8:
                return torch.nn.functional.linear(x, scaled(weight, x.dtype), self.bias)
            if rows > MOST_OWN_ROWS and tile_packed(weight):
                return torch.nn.functional.linear(x, dequantize_tiles(weight), self.bias)
            return super().forward(x)

    return WeightOnlyLinear


def scaled(weight: Any, dtype: Any) -> Any:
    """The weight (N, K) back in `dtype`: one scale a row, multiplied in float32."""
    import torch

    return (weight.qdata.to(torch.float32) * weight.scale.to(torch.float32)).to(dtype)

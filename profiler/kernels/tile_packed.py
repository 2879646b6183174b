"""torchao's tile-packed int4 weights back in bf16, for products of more rows than their own kernel is made for.

`_weight_int4pack_mm` computes 16 rows at a time and unpacks the whole weight for each: good at a token, and at the thousands of
rows of a diffusion step several times slower than bf16. One pass that unpacks once, and a bf16 GEMM, cost little more than bf16.

The layout, of a weight padded to N and K: [N / 8][K / 128][32 lanes][4] words of 8 codes. Lane `t` has row `t // 4` of the
eight, and word `i` the inputs `32 i + 8 p + 2 (t % 4)` and the one after it as bits `4 p` of its low and its high half.
"""

# ruff: noqa: ANN001, ANN201 - Triton reads a kernel's parameters itself
from __future__ import annotations

from typing import Any

import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # a CPU build of torch, which has no such weights
    triton = None

MOST_OWN_ROWS = 64
"""Up to so many rows the weight's own kernel is used."""

_BLOCK, _ROWS, _WARPS = 256, 4, 4

if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator]
    def dequantize_tiles_kernel(  # type: ignore[no-untyped-def]
        words,
        scale_and_zero,
        out,
        n_size,
        k_size,
        k_tiles,
        n_padded,
        group: tl.constexpr,
        block: tl.constexpr,
        rows: tl.constexpr,
    ):
        """Fill `out` (N, K), a program `rows` rows of `block` pairs; a group's scale and zero are read as one word."""
        both_words = scale_and_zero.to(tl.pointer_type(tl.int32), bitcast=True)
        pair = tl.program_id(0) * block + tl.arange(0, block)
        k = tl.program_id(0) * block * 2 + tl.arange(0, block * 2)
        lane, p, inner, tile = pair % 4, pair // 4 % 4, pair // 16 % 4, pair // 64
        for step in tl.static_range(rows):
            n = tl.program_id(1) * rows + step
            inside = (pair * 2 < k_size) & (n < n_size)
            at = ((n // 8 * k_tiles + tile) * 32 + n % 8 * 4 + lane) * 4 + inner
            word = tl.load(words + at, mask=inside, other=0).to(tl.uint32, bitcast=True)
            # 128 + code, since a bfloat16 of 128 and more counts in ones; a code is a number plus 8.
            bits = ((word >> (4 * p).to(tl.uint32)) & 0x000F000F) | 0x43004300
            both = tl.load(both_words + pair * 2 // group * n_padded + n, mask=inside, other=0).to(tl.uint32, bitcast=True)
            scale = (both << 16).to(tl.float32, bitcast=True)
            zero = (both & 0xFFFF0000).to(tl.float32, bitcast=True)
            even = ((bits << 16).to(tl.float32, bitcast=True) - 136.0) * scale + zero
            odd = ((bits & 0xFFFF0000).to(tl.float32, bitcast=True) - 136.0) * scale + zero
            result = tl.interleave(even, odd).to(out.dtype.element_ty)
            tl.store(out + n * k_size + k, result, mask=(k < k_size) & (n < n_size))


def _dequantize_tiles(qdata: torch.Tensor, scale_and_zero: torch.Tensor, group: int, n_size: int, k_size: int) -> torch.Tensor:
    out = torch.empty(n_size, k_size, dtype=torch.bfloat16, device=qdata.device)
    grid = (triton.cdiv(k_size // 2, _BLOCK), triton.cdiv(n_size, _ROWS))
    torch.library.wrap_triton(dequantize_tiles_kernel)[grid](
        qdata,
        scale_and_zero,
        out,
        n_size,
        k_size,
        qdata.shape[1],
        scale_and_zero.shape[1],
        group=group,
        block=_BLOCK,
        rows=_ROWS,
        num_warps=_WARPS,
    )
    return out


if triton is not None:
    _op = torch.library.triton_op(
        "diffuscope::dequantize_tiles",
        _dequantize_tiles,
        mutates_args=(),
        schema="(Tensor qdata, Tensor scale_and_zero, int group, int n_size, int k_size) -> Tensor",
    )


def tile_packed(weight: Any) -> bool:
    """Whether a weight is of this kind and can be unpacked here."""
    return triton is not None and hasattr(weight, "scale_and_zero") and weight.qdata.dim() == 4


def dequantize_tiles(weight: Any) -> torch.Tensor:
    """The weight (N, K) in bf16, without its padding."""
    n_size, k_size = weight.shape
    return _op(weight.qdata, weight.scale_and_zero, weight.block_size[-1], n_size, k_size)

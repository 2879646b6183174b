"""The int8 matmuls in Triton: a persistent one for Hopper's copy engine, and one of plain pointers for every other GPU.

Both compute `(a @ weight.T) * row_scale * col_scale + bias`: int8 products summed in int32, both scales and the bias applied in
float32 while the sums are still in registers, one rounding to the output's dtype at the end. Importing this needs Triton.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from profiler.kernels.relaunch import Launched
from profiler.kernels.wide_ptx import stamp, widened

# A product and the addition after it must not melt into one rounding: every kernel then gives the same bits.
SAME_BITS = {"enable_fp_fusion": False}


@triton.jit  # type: ignore[untyped-decorator]
def place(tile, rows, columns, group: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Row and column of the `tile`-th tile: bands of `group` rows, down first, so that neighbours in time share L2."""
    band = tile // (group * columns)
    first = band * group
    height = min(rows - first, group)
    within = tile % (group * columns)
    return first + within % height, within // height


@triton.jit  # type: ignore[untyped-decorator]
def _scaled(  # type: ignore[no-untyped-def]  # noqa: ANN202
    total,  # noqa: ANN001
    row,  # noqa: ANN001
    column,  # noqa: ANN001
    row_scale,  # noqa: ANN001
    col_scale,  # noqa: ANN001
    bias,  # noqa: ANN001
    m_size,  # noqa: ANN001
    n_size,  # noqa: ANN001
    has_bias: tl.constexpr,
):
    """The epilogue: int32 sums of the tile at (row, column) -> float32 results."""
    m = row + tl.arange(0, total.shape[0])
    n = column + tl.arange(0, total.shape[1])
    result = total.to(tl.float32) * tl.load(row_scale + m, mask=m < m_size, other=0.0)[:, None]
    result *= tl.load(col_scale + n, mask=n < n_size, other=0.0)[None, :]
    if has_bias:
        result += tl.load(bias + n, mask=n < n_size, other=0.0).to(tl.float32)[None, :]
    return result


@triton.jit(do_not_specialize=["programs"])  # type: ignore[untyped-decorator]
def descriptor_kernel(  # type: ignore[no-untyped-def]  # noqa: ANN201
    a,  # noqa: ANN001
    weight,  # noqa: ANN001
    out,  # noqa: ANN001
    row_scale,  # noqa: ANN001
    col_scale,  # noqa: ANN001
    bias,  # noqa: ANN001
    m_size,  # noqa: ANN001
    n_size,  # noqa: ANN001
    k_size,  # noqa: ANN001
    programs,  # noqa: ANN001
    has_bias: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    group: tl.constexpr,
    parts: tl.constexpr,
    flatten: tl.constexpr,
    specialize: tl.constexpr,
    wide: tl.constexpr,
):
    """Each of `programs` walks over the tiles: one program a multiprocessor, no tail of launches.

    `a`, `weight` and `out` are tensor descriptors of (block_m, block_k), (block_n, block_k) and (block_m, block_n / parts):
    what lies outside a tensor reads as 0 and is not written. Flattened, the loads of the next tile begin before the
    epilogue of this one. `wide` only tells two compilations apart.
    """
    rows, columns = tl.cdiv(m_size, block_m), tl.cdiv(n_size, block_n)
    for tile in tl.range(tl.program_id(0), rows * columns, programs, flatten=flatten, warp_specialize=specialize):
        tile_row, tile_column = place(tile, rows, columns, group)
        row, column = tile_row * block_m, tile_column * block_n
        total = tl.zeros((block_m, block_n), dtype=tl.int32)
        for step in range(tl.cdiv(k_size, block_k)):
            x = a.load([row, step * block_k])
            w = weight.load([column, step * block_k])
            total = tl.dot(x, w.T, total, out_dtype=tl.int32)
        result = _scaled(total, row, column, row_scale, col_scale, bias, m_size, n_size, has_bias).to(out.dtype)
        if parts == 1:
            out.store([row, column], result)
        else:  # a half at a time: the staging buffer is half as large, which is room for one more stage
            left, right = tl.split(tl.permute(tl.reshape(result, (block_m, 2, block_n // 2)), (0, 2, 1)))
            out.store([row, column], left)
            out.store([row, column + block_n // 2], right)


@triton.jit  # type: ignore[untyped-decorator]
def pointer_kernel(  # type: ignore[no-untyped-def]  # noqa: ANN201
    a,  # noqa: ANN001
    weight,  # noqa: ANN001
    out,  # noqa: ANN001
    row_scale,  # noqa: ANN001
    col_scale,  # noqa: ANN001
    bias,  # noqa: ANN001
    m_size,  # noqa: ANN001
    n_size,  # noqa: ANN001
    k_size,  # noqa: ANN001
    has_bias: tl.constexpr,
    even_k: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    block_k: tl.constexpr,
    group: tl.constexpr,
):
    """One tile a program, by plain masked loads: any shape, any alignment, any GPU with int8 tensor cores."""
    rows, columns = tl.cdiv(m_size, block_m), tl.cdiv(n_size, block_n)
    tile_row, tile_column = place(tl.program_id(0), rows, columns, group)
    # Rows beyond the edge read row 0's like again: they are not written, and loads without a row mask stay wide.
    m = (tile_row * block_m + tl.arange(0, block_m)) % m_size
    n = (tile_column * block_n + tl.arange(0, block_n)) % n_size
    k = tl.arange(0, block_k)
    x_at = a + m.to(tl.int64)[:, None] * k_size + k[None, :]
    w_at = weight + n.to(tl.int64)[None, :] * k_size + k[:, None]
    total = tl.zeros((block_m, block_n), dtype=tl.int32)
    for step in range(tl.cdiv(k_size, block_k)):
        if even_k:
            x, w = tl.load(x_at), tl.load(w_at)
        else:
            inside = k < k_size - step * block_k
            x = tl.load(x_at, mask=inside[None, :], other=0)
            w = tl.load(w_at, mask=inside[:, None], other=0)
        total = tl.dot(x, w, total, out_dtype=tl.int32)
        x_at += block_k
        w_at += block_k
    row, column = tile_row * block_m, tile_column * block_n
    result = _scaled(total, row, column, row_scale, col_scale, bias, m_size, n_size, has_bias)
    m, n = row + tl.arange(0, block_m), column + tl.arange(0, block_n)
    out_at = out + m.to(tl.int64)[:, None] * n_size + n[None, :]
    tl.store(out_at, result.to(out.dtype.element_ty), mask=(m < m_size)[:, None] & (n < n_size)[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def scale_kernel(  # type: ignore[no-untyped-def]  # noqa: ANN201
    sums,  # noqa: ANN001
    out,  # noqa: ANN001
    row_scale,  # noqa: ANN001
    col_scale,  # noqa: ANN001
    bias,  # noqa: ANN001
    m_size,  # noqa: ANN001
    n_size,  # noqa: ANN001
    has_rows: tl.constexpr,
    has_bias: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
):
    """The epilogue by itself, for a matmul without one: one reading of the sums and one writing of the output."""
    m, n = tl.program_id(0) * block_m + tl.arange(0, block_m), tl.program_id(1) * block_n + tl.arange(0, block_n)
    inside = (m < m_size)[:, None] & (n < n_size)[None, :]
    at = m.to(tl.int64)[:, None] * n_size + n[None, :]
    result = tl.load(sums + at, mask=inside, other=0).to(tl.float32)
    if has_rows:
        result *= tl.load(row_scale + m, mask=m < m_size, other=0.0)[:, None]
    result *= tl.load(col_scale + n, mask=n < n_size, other=0.0)[None, :]
    if has_bias:
        result += tl.load(bias + n, mask=n < n_size, other=0.0).to(tl.float32)[None, :]
    tl.store(out + at, result.to(out.dtype.element_ty), mask=inside)


@cache
def multiprocessors(device: torch.device) -> int:
    """How many there are on a CUDA device; 4 elsewhere, where only the interpreter runs these kernels."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


def descriptor_matmul(
    a: torch.Tensor,
    weight: torch.Tensor,
    row_scale: torch.Tensor,
    col_scale: torch.Tensor,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    *,
    block_m: int,
    block_n: int,
    block_k: int,
    stages: int,
    warps: int,
    group: int = 8,
    parts: int = 1,
    flatten: int = 1,
    specialize: int = 0,
    wide: int = 0,
) -> Launched:
    """Fill `out` (M, N) by `descriptor_kernel`; gives what it takes to launch that again.

    Args:
        a: (M, K) int8, weight: (N, K) int8; rows contiguous and K a multiple of 16, which the copy engine asks for.
        row_scale: (M,) float32, col_scale: (N,) float32, bias: (N,) or None.
        out: bf16 or fp16, contiguous, N a multiple of 8.
        parts: 1 or 2 stores a tile; stages and warps: Triton's `num_stages` and `num_warps`.
        flatten, specialize: 1 or 0, Triton's options of the same names for the loop over tiles.
        wide: 1 for instructions of 256 columns (block_n 256, block_k 128 and at most a warp for 16 rows only).
    """
    (m_size, k_size), n_size = a.shape, weight.shape[0]
    tiles = triton.cdiv(m_size, block_m) * triton.cdiv(n_size, block_n)
    programs = min(multiprocessors(a.device), tiles)
    operands = (
        TensorDescriptor.from_tensor(a, [block_m, block_k]),
        TensorDescriptor.from_tensor(weight, [block_n, block_k]),
        TensorDescriptor.from_tensor(out, [block_m, block_n // parts]),
    )
    pointers = (row_scale, col_scale, row_scale if bias is None else bias)
    numbers = (m_size, n_size, k_size, programs)
    constants = {"has_bias": bias is not None, "block_m": block_m, "block_n": block_n, "block_k": block_k, "group": group}
    constants |= {"parts": parts, "flatten": bool(flatten), "specialize": bool(specialize), "wide": stamp(wide)}
    with widened("descriptor_kernel") if wide else nullcontext():
        launch = descriptor_kernel[(programs,)]
        compiled = launch(*operands, *pointers, *numbers, **constants, num_stages=stages, num_warps=warps, **SAME_BITS)
    return Launched(compiled, programs, operands, (*numbers, *constants.values()))


def pointer_matmul(
    a: torch.Tensor,
    weight: torch.Tensor,
    row_scale: torch.Tensor,
    col_scale: torch.Tensor,
    bias: torch.Tensor | None,
    out: torch.Tensor,
    *,
    block_m: int,
    block_n: int,
    block_k: int,
    stages: int,
    warps: int,
    group: int = 8,
) -> Launched:
    """Fill `out` (M, N) by `pointer_kernel`; arguments as `descriptor_matmul`'s, without its limits on K and N."""
    (m_size, k_size), n_size = a.shape, weight.shape[0]
    tiles = triton.cdiv(m_size, block_m) * triton.cdiv(n_size, block_n)
    operands = (a, weight, out)
    pointers = (row_scale, col_scale, row_scale if bias is None else bias)
    numbers = (m_size, n_size, k_size)
    constants = {"has_bias": bias is not None, "even_k": k_size % block_k == 0}
    constants |= {"block_m": block_m, "block_n": block_n, "block_k": block_k, "group": group}
    launch = pointer_kernel[(tiles,)]
    compiled = launch(*operands, *pointers, *numbers, **constants, num_stages=stages, num_warps=warps, **SAME_BITS)
    return Launched(compiled, tiles, operands, (*numbers, *constants.values()))


def scale(
    sums: torch.Tensor, row_scale: torch.Tensor | None, col_scale: torch.Tensor, bias: torch.Tensor | None, out: torch.Tensor
) -> None:
    """Fill `out` (M, N) with the scaled `sums` (M, N, contiguous).

    Args:
        row_scale: (M,) float32; None where the sums, float32 then, have it already.
        col_scale: (N,) float32, bias: (N,) or None.
    """
    (m_size, n_size), block_m, block_n = sums.shape, 4, 1024
    scale_kernel[(triton.cdiv(m_size, block_m), triton.cdiv(n_size, block_n))](
        sums,
        out,
        col_scale if row_scale is None else row_scale,
        col_scale,
        col_scale if bias is None else bias,
        m_size,
        n_size,
        has_rows=row_scale is not None,
        has_bias=bias is not None,
        block_m=block_m,
        block_n=block_n,
        num_warps=8,
        **SAME_BITS,
    )

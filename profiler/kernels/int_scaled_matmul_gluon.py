"""The int8 matmul for Hopper in Gluon: one warp that loads, two warpgroups that multiply, each half of the tile's rows.

Why beside the Triton one: Triton 3.6 waits for every int8 step of the tensor cores before it issues the next, and lets the
whole program pass from multiplying to storing together. Here a step is issued while the one before runs, and one
warpgroup may store its half while the other still multiplies: they meet only at the shared buffers.

The tiles of a last, partly filled wave can be cut along K (`slices`): sums of integers are exact in any order, so the result
keeps its bits. Importing this needs Triton 3.6's Gluon.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from profiler.kernels.int_scaled_matmul_triton import SAME_BITS, multiprocessors, place
from profiler.kernels.int_scaled_matmul_warpgroup import cut
from profiler.kernels.relaunch import Launched
from profiler.kernels.wide_ptx import stamp, widened

# Registers a thread: of the second warpgroup that multiplies (the first gets what is left, about as many) and of the loader,
# whose 4 warps are 1 at work and 3 that only take up room; 3 warpgroups of 168 fit the 65536 of a multiprocessor.
_WORKER_REGISTERS, _LOADER_REGISTERS = gl.constexpr(232), gl.constexpr(40)
MAX_REGISTERS = 168


@gluon.jit  # type: ignore[untyped-decorator]
def _unit(unit, steps, rows, columns, whole, group: gl.constexpr, slices: gl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """(tile row, tile column, first K step, end K step) of a piece of work: a tile, or one of `slices` of a tail tile."""
    tile, first, end = unit, 0, steps
    if slices > 1:
        beyond = gl.maximum(unit - whole, 0)
        part = beyond % slices
        tail = unit >= whole
        tile = gl.where(tail, whole + beyond // slices, unit)
        first = gl.where(tail, steps * part // slices, 0)
        end = gl.where(tail, steps * (part + 1) // slices, steps)
    row, column = place(tile, rows, columns, group)
    return row, column, first, end


@gluon.jit  # type: ignore[untyped-decorator]
def _load(  # type: ignore[no-untyped-def]  # noqa: ANN202
    a,  # noqa: ANN001
    weight,  # noqa: ANN001
    buffers,  # noqa: ANN001
    barriers,  # noqa: ANN001
    work,  # noqa: ANN001
    group: gl.constexpr,
    slices: gl.constexpr,
):
    """The loading warp: fills the ring of buffers, a step of K at a time, as the multipliers empty it."""
    a_ring, weight_ring = buffers
    ready, empty, _ahead = barriers
    units, steps, rows, columns, whole = work
    stages: gl.constexpr = weight_ring.shape[0]
    half: gl.constexpr = a_ring.shape[1]
    block_n: gl.constexpr = weight_ring.shape[1]
    block_k: gl.constexpr = weight_ring.shape[2]
    count = 0
    for unit in range(gl.program_id(0), units, gl.num_programs(0)):
        row, column, first, end = _unit(unit, steps, rows, columns, whole, group, slices)
        for step in range(first, end):
            slot = count % stages
            mbarrier.wait(empty.index(slot), (count // stages & 1) ^ 1)
            filled = ready.index(slot)
            mbarrier.expect(filled, (2 * half + block_n) * block_k)
            k = step * block_k
            tma.async_copy_global_to_shared(a, [row * 2 * half, k], filled, a_ring.index(2 * slot))
            tma.async_copy_global_to_shared(a, [row * 2 * half + half, k], filled, a_ring.index(2 * slot + 1))
            tma.async_copy_global_to_shared(weight, [column * block_n, k], filled, weight_ring.index(slot))
            count += 1


@gluon.jit  # type: ignore[untyped-decorator]
def _join(total, partial, arrived, unit, whole, mine: gl.constexpr, slices: gl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Leave this slice's sums in memory; whoever comes last at a tile adds the others' to its own and may store it.

    Nobody waits for anybody: the order in which programs run cannot matter.
    """
    height: gl.constexpr = total.shape[0]
    width: gl.constexpr = total.shape[1]
    m = gl.arange(0, height, gl.SliceLayout(1, total.type.layout))
    n = gl.arange(0, width, gl.SliceLayout(0, total.type.layout))
    within = gl.expand_dims(m, 1) * width + gl.expand_dims(n, 0)
    beyond = unit - whole
    area: gl.constexpr = 2 * height * width
    gl.store(partial + beyond * area + mine * height * width + within, total)
    gl.thread_barrier()  # every thread's sums are written before the one atomic that says so
    seen = gl.atomic_add(arrived + beyond // slices * 2 + mine, 1, sem="acq_rel")
    last = seen == slices - 1
    if last:
        for part in range(slices):
            other = beyond // slices * slices + part
            if other != beyond:  # past L1, which may not know what another multiprocessor wrote
                total += gl.load(partial + other * area + mine * height * width + within, cache_modifier=".cg")
    return total, last


@gluon.jit  # type: ignore[untyped-decorator]
def _scaled(total, row, column, scales, sizes, has_bias: gl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """int32 sums of the half tile at (row, column) -> float32 results."""
    row_scale, col_scale, bias = scales
    m_size, n_size = sizes
    m = row + gl.arange(0, total.shape[0], gl.SliceLayout(1, total.type.layout))
    n = column + gl.arange(0, total.shape[1], gl.SliceLayout(0, total.type.layout))
    result = total.to(gl.float32) * gl.expand_dims(gl.load(row_scale + m, mask=m < m_size, other=0.0), 1)
    result *= gl.expand_dims(gl.load(col_scale + n, mask=n < n_size, other=0.0), 0)
    if has_bias:
        result += gl.expand_dims(gl.load(bias + n, mask=n < n_size, other=0.0).to(gl.float32), 0)
    return result


@gluon.jit
def _put(out, value, row, column, staging):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Store through shared memory by the copy engine, which leaves out what lies outside the tensor."""
    tma.store_wait(0)  # the buffer's last use
    staging.store(value)
    fence_async_shared()
    tma.async_copy_shared_to_global(out, [row, column], staging)


@gluon.jit  # type: ignore[untyped-decorator]
def _multiply(  # type: ignore[no-untyped-def]  # noqa: ANN202
    mine: gl.constexpr,
    results,  # noqa: ANN001
    scales,  # noqa: ANN001
    sizes,  # noqa: ANN001
    buffers,  # noqa: ANN001
    barriers,  # noqa: ANN001
    work,  # noqa: ANN001
    has_bias: gl.constexpr,
    group: gl.constexpr,
    slices: gl.constexpr,
    lead: gl.constexpr,
):
    """One warpgroup: the upper (`mine` 0) or the lower (1) half of every tile's rows.

    Both take as long for a tile, so what the upper is ahead at the start it stays ahead: with a `lead` its epilogue falls into
    the lower's last steps, which then have the tensor cores to themselves.
    """
    out, staging, partial, arrived = results
    a_ring, weight_ring = buffers
    ready, empty, ahead = barriers
    units, steps, rows, columns, whole = work
    stages: gl.constexpr = weight_ring.shape[0]
    half: gl.constexpr = a_ring.shape[1]
    block_n: gl.constexpr = weight_ring.shape[1]
    width: gl.constexpr = staging.shape[2]
    # 128 columns an instruction is the most that Triton 3.6 knows for int8.
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, min(block_n, 128), 32])
    stage_c = staging.index(mine)
    count = 0
    if lead > 0 and mine == 1:
        mbarrier.wait(ahead.index(0), 0)
    for unit in range(gl.program_id(0), units, gl.num_programs(0)):
        tile_row, tile_column, first, end = _unit(unit, steps, rows, columns, whole, group, slices)
        total = gl.zeros((half, block_n), gl.int32, layout)
        for step in range(first, end):
            slot = count % stages
            mbarrier.wait(ready.index(slot), count // stages & 1)
            w = weight_ring.index(slot).permute((1, 0))
            total = warpgroup_mma(a_ring.index(2 * slot + mine), w, total, use_acc=step > first, is_async=True)
            total = warpgroup_mma_wait(1, deps=[total])  # the step before is done: its buffers may be filled again
            mbarrier.arrive(empty.index((count + stages - 1) % stages), count=1, pred=step > first)
            count += 1
            if lead > 0 and mine == 0:
                mbarrier.arrive(ahead.index(0), count=1, pred=count == lead)
        total = warpgroup_mma_wait(0, deps=[total])
        mbarrier.arrive(empty.index((count + stages - 1) % stages), count=1)
        store = True
        if slices > 1 and unit >= whole:
            total, store = _join(total, partial, arrived, unit, whole, mine, slices)
        if store:
            row, column = tile_row * 2 * half + mine * half, tile_column * block_n
            result = _scaled(total, row, column, scales, sizes, has_bias).to(out.dtype)
            if width == block_n:
                _put(out, result, row, column, stage_c)
            else:
                left, right = gl.split(gl.permute(gl.reshape(result, (half, 2, width)), (0, 2, 1)))
                _put(out, left, row, column, stage_c)
                _put(out, right, row, column + width, stage_c)
    if lead > 0 and mine == 0:  # fewer steps than that in all
        mbarrier.arrive(ahead.index(0), count=1, pred=count < lead)
    tma.store_wait(0)


@gluon.jit(do_not_specialize=["m_size", "whole"])  # type: ignore[untyped-decorator]
def warpgroup_kernel(  # type: ignore[no-untyped-def]  # noqa: ANN201
    a,  # noqa: ANN001
    weight,  # noqa: ANN001
    out,  # noqa: ANN001
    row_scale,  # noqa: ANN001
    col_scale,  # noqa: ANN001
    bias,  # noqa: ANN001
    partial,  # noqa: ANN001
    arrived,  # noqa: ANN001
    m_size,  # noqa: ANN001
    n_size,  # noqa: ANN001
    k_size,  # noqa: ANN001
    whole,  # noqa: ANN001
    has_bias: gl.constexpr,
    stages: gl.constexpr,
    group: gl.constexpr,
    slices: gl.constexpr,
    lead: gl.constexpr,
    wide: gl.constexpr,
):
    """`a`, `weight`, `out`: tensor descriptors of (block_m / 2, block_k), (block_n, block_k), (block_m / 2, block_n / parts).

    The first `whole` tiles are done by one program each, the others by `slices` programs each, through `partial` (int32, 2 halves
    of a tile a slice) and `arrived` (int32 zeros, 2 a tile). `wide` only tells two compilations apart.
    """
    half: gl.constexpr = a.block_shape[0]
    block_n: gl.constexpr = weight.block_shape[0]
    block_k: gl.constexpr = weight.block_shape[1]
    a_ring = gl.allocate_shared_memory(gl.int8, [2 * stages, half, block_k], a.layout)
    weight_ring = gl.allocate_shared_memory(gl.int8, [stages, block_n, block_k], weight.layout)
    staging = gl.allocate_shared_memory(out.dtype, [2, half, out.block_shape[1]], out.layout)
    ready = gl.allocate_shared_memory(gl.int64, [stages, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [stages, 1], mbarrier.MBarrierLayout())
    ahead = gl.allocate_shared_memory(gl.int64, [1, 1], mbarrier.MBarrierLayout())
    mbarrier.init(ahead.index(0), count=1)
    for slot in gl.static_range(stages):
        mbarrier.init(ready.index(slot), count=1)
        mbarrier.init(empty.index(slot), count=2)
    fence_async_shared()
    rows, columns, steps = gl.cdiv(m_size, 2 * half), gl.cdiv(n_size, block_n), gl.cdiv(k_size, block_k)
    units = whole + (rows * columns - whole) * slices
    work = (units, steps, rows, columns, whole)
    scales, sizes, buffers, barriers = (
        (row_scale, col_scale, bias),
        (m_size, n_size),
        (a_ring, weight_ring),
        (ready, empty, ahead),
    )
    upper: gl.constexpr = 0
    lower: gl.constexpr = 1
    results = (out, staging, partial, arrived)
    gl.warp_specialize(
        [
            (_multiply, (upper, results, scales, sizes, buffers, barriers, work, has_bias, group, slices, lead)),
            (_multiply, (lower, results, scales, sizes, buffers, barriers, work, has_bias, group, slices, lead)),
            (_load, (a, weight, buffers, barriers, work, group, slices)),
        ],
        [4, 1],
        [_WORKER_REGISTERS, _LOADER_REGISTERS],
    )


def descriptor(tensor: torch.Tensor, block_shape: list[int], dtype: Any) -> TensorDescriptor:
    """Of a 2-D tensor with contiguous rows, in the layout of shared memory that the tensor cores read."""
    return TensorDescriptor.from_tensor(tensor, block_shape, _layout(*block_shape, dtype))


@cache
def _layout(rows: int, columns: int, dtype: Any) -> Any:
    return gl.NVMMASharedLayout.get_default_for([rows, columns], dtype)


_DTYPES = {torch.bfloat16: gl.bfloat16, torch.float16: gl.float16, torch.float32: gl.float32}


def warpgroup_matmul(
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
    group: int = 8,
    parts: int = 1,
    slices: int = 1,
    lead: int = 0,
    wide: int = 0,
) -> Launched:
    """Fill `out` (M, N) by `warpgroup_kernel`; gives what it takes to launch that again.

    Args:
        a: (M, K) int8, weight: (N, K) int8; rows contiguous and K a multiple of 16, which the copy engine asks for.
        row_scale: (M,) float32, col_scale: (N,) float32, bias: (N,) or None.
        out: bf16 or fp16, contiguous, N a multiple of 8.
        parts: 1 or 2 stores a half tile; slices: how many programs share a tile of the last wave, where `cut` says so.
        lead: K steps that one warpgroup begins before the other, at most `stages`.
        wide: 1 for instructions of 256 columns (block_n 256 and block_k 128 only).
    """
    (m_size, k_size), n_size = a.shape, weight.shape[0]
    tiles, steps = triton.cdiv(m_size, block_m) * triton.cdiv(n_size, block_n), triton.cdiv(k_size, block_k)
    programs = multiprocessors(a.device)
    whole = cut(tiles, steps, programs, slices)
    units = whole + (tiles - whole) * slices
    partial = arrived = row_scale
    partial_size, arrived_size = (units - whole) * block_m * block_n, (tiles - whole) * 2
    if slices > 1:  # of the same dtype where no tile is cut: that is no reason to compile again
        partial = torch.empty(partial_size, dtype=torch.int32, device=a.device)
        arrived = torch.zeros(arrived_size, dtype=torch.int32, device=a.device)
    programs = min(programs, units)
    operands = (
        descriptor(a, [block_m // 2, block_k], gl.int8),
        descriptor(weight, [block_n, block_k], gl.int8),
        descriptor(out, [block_m // 2, block_n // parts], _DTYPES[out.dtype]),
    )
    pointers = (row_scale, col_scale, row_scale if bias is None else bias, partial, arrived)
    numbers = (m_size, n_size, k_size, whole)
    constants = {"has_bias": bias is not None, "stages": stages, "group": group, "slices": slices}
    constants |= {"lead": lead, "wide": stamp(wide)}
    options = {"num_warps": 4, "maxnreg": MAX_REGISTERS} | SAME_BITS
    with widened("warpgroup_kernel") if wide else nullcontext():
        compiled = warpgroup_kernel[(programs,)](*operands, *pointers, *numbers, **constants, **options)
    return Launched(compiled, programs, operands, (*numbers, *constants.values()), partial_size, arrived_size)

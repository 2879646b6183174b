"""The space `pointers`: the Triton kernel of plain masked loads (`pointer_kernel`), for any shape and any GPU."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from profiler.kernels import blocks
from profiler.kernels.candidate import Candidate, Shape
from profiler.kernels.operands import ALIGNMENT, operands
from profiler.kernels.relaunch import keep

SPACE = "pointers"
_BLOCKS = ((128, 256), (256, 128), (128, 128), (64, 256), (256, 64), (64, 128), (128, 64), (64, 64), (32, 64), (16, 64))


def candidates(shape: Shape, hardware: Any) -> list[Candidate]:
    """What fits a shape; on a Hopper GPU only a few, unless the shape is one that its copy engine cannot read."""
    if hardware.capability is None or hardware.capability < (8, 0):
        return []
    hopper, programs = hardware.capability == (9, 0), blocks.multiprocessors(hardware)
    read_by_engine = hopper and shape.k % ALIGNMENT == 0 and (2 * shape.n) % ALIGNMENT == 0
    configs = (config for pair in _BLOCKS for config in _configs(*pair, few=read_by_engine))
    return [
        blocks.candidate(SPACE, each)
        for each in configs
        if fits(each, hardware.capability) and blocks.sensible(shape, each, programs)
    ]


def _configs(block_m: int, block_n: int, *, few: bool) -> list[dict[str, int]]:
    warps = (8,) if block_m * block_n > 128 * 128 else (4,)
    block_ks, stages, groups = ((128,), (3, 4), (8,)) if few else ((64, 128), (2, 3, 4, 5), (4, 8))
    return [
        {"block_m": block_m, "block_n": block_n, "block_k": block_k, "stages": stage, "warps": warp, "group": group}
        for block_k, stage, warp, group in product(block_ks, stages, warps, groups)
    ]


def fits(config: dict[str, int], capability: tuple[int, int]) -> bool:
    """Whether registers and shared memory hold it."""
    sums = blocks.sums_a_thread(config, config["warps"])
    return blocks.ring_bytes(config) <= blocks.shared_limit(capability) and sums <= blocks.MOST_SUMS


def matmul(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None, kernel: str
) -> torch.Tensor:
    """`(a @ b) * row_scale * col_scale + bias` in bf16 by the candidate called `kernel`; a (M, K), b (K, N) int8, on CUDA."""
    from profiler.kernels.int_scaled_matmul_triton import pointer_matmul

    given = operands(a, b, row_scale, col_scale, bias)
    out = given.empty()
    launched = pointer_matmul(*given, out, **blocks.config_of(kernel))
    keep(a, b, row_scale, col_scale, bias, kernel, launched)
    return out

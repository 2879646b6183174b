"""The space `hopper`: the persistent Triton kernel with tensor descriptors (`descriptor_kernel`)."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from profiler.kernels import blocks
from profiler.kernels.candidate import Candidate, Shape
from profiler.kernels.operands import ALIGNMENT, operands
from profiler.kernels.relaunch import keep

SPACE = "hopper"
_BLOCKS = ((128, 256), (256, 128), (128, 128), (64, 256), (64, 128), (128, 64), (64, 64))
_GROUPS, _STAGES = (4, 8), (3, 4, 5, 6)


def candidates(shape: Shape, hardware: Any) -> list[Candidate]:
    """What fits a shape on a Hopper GPU; none on others, none where the copy engine cannot read the rows."""
    if hardware.capability != (9, 0) or shape.k % ALIGNMENT or (2 * shape.n) % ALIGNMENT:
        return []
    configs = (config for pair in _BLOCKS for config in _configs(*pair))
    programs = blocks.multiprocessors(hardware)
    return [blocks.candidate(SPACE, each) for each in configs if fits(each) and blocks.sensible(shape, each, programs)]


def _configs(block_m: int, block_n: int) -> list[dict[str, int]]:
    area = block_m * block_n
    warps = (8,) if area > 128 * 128 else (4, 8) if area == 128 * 128 else (4,)
    # Half a block is stored at a time only where that is what makes room for a stage.
    parts = (1, 2) if area > 128 * 128 else (1,)
    return [
        {"block_m": block_m, "block_n": block_n, "block_k": 128, "stages": stages, "warps": warp}
        | {"group": group, "parts": part, "flatten": flatten, "wide": wide}
        for stages, warp, group, part, flatten, wide in product(_STAGES, warps, _GROUPS, parts, (1, 0), (1, 0))
        if (not wide or (block_n == 256 and 16 * warp <= block_m)) and (flatten or group == _GROUPS[-1])
    ]


def shared_bytes(config: dict[str, int]) -> int:
    """Shared memory of a program: the ring, the block to be stored, scales of a side, a barrier a stage."""
    stored = 2 * config["block_m"] * config["block_n"] // config["parts"]
    return blocks.ring_bytes(config) + stored + 4 * max(config["block_m"], config["block_n"]) + 8 * config["stages"]


def fits(config: dict[str, int]) -> bool:
    """Whether registers and shared memory hold it, and not so little of it that it is another's with stages to spare."""
    used, limit = shared_bytes(config), blocks.shared_limit((9, 0))
    spare = limit - used >= blocks.ring_bytes(config) // config["stages"] * 2
    return used <= limit and not spare and blocks.sums_a_thread(config, config["warps"]) <= blocks.MOST_SUMS


def matmul(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None, kernel: str
) -> torch.Tensor:
    """`(a @ b) * row_scale * col_scale + bias` in bf16 by the candidate called `kernel`; a (M, K), b (K, N) int8, on CUDA."""
    from profiler.kernels.int_scaled_matmul_triton import descriptor_matmul

    given = operands(a, b, row_scale, col_scale, bias)
    out = given.empty()
    launched = descriptor_matmul(*given, out, **blocks.config_of(kernel))
    keep(a, b, row_scale, col_scale, bias, kernel, launched)
    return out

"""The space `torchao`: torchao's own Triton kernel, its configurations that are right.

That kernel masks K only where K is odd: where a block does not divide an even K, the last block reads past the rows and the sums
are wrong. Its autotuner has such configurations and never looks at a result; here they are no candidates.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from profiler.kernels import blocks
from profiler.kernels.candidate import Candidate, Shape
from profiler.kernels.operands import operands

SPACE = "torchao"
_SIDES = (32, 64, 128, 256)
# Stages and warps as torchao pairs them; its pairs with fewer than 4 warps cannot reach Hopper's tensor cores.
_PAIRS = tuple((stages, 4) for stages in (1, 2, 3, 4)) + tuple((stages, 8) for stages in range(1, 9))
_SLOW_PAIRS = ((1, 1), (1, 2), (2, 2))
_GROUP = 8


def candidates(shape: Shape, hardware: Any) -> list[Candidate]:
    """torchao's configurations that are right for a shape, fit, and can be fast."""
    if hardware.capability is None or hardware.capability < (8, 0):
        return []
    programs = blocks.multiprocessors(hardware)
    return [
        blocks.candidate(SPACE, each)
        for each in every_config()
        if right(shape, each) and can_be_fast(each, hardware.capability) and blocks.sensible(shape, each, programs)
    ]


def every_config() -> list[dict[str, int]]:
    """All 960 of torchao's list."""
    return [
        {"block_m": block_m, "block_n": block_n, "block_k": block_k, "stages": stages, "warps": warps}
        for block_m, block_n, block_k in product(_SIDES, repeat=3)
        for stages, warps in (*_SLOW_PAIRS, *_PAIRS)
    ]


def right(shape: Shape, config: dict[str, int]) -> bool:
    """Whether the kernel computes this shape correctly with this configuration."""
    return shape.k % config["block_k"] == 0 or shape.k % 2 == 1


def can_be_fast(config: dict[str, int], capability: tuple[int, int]) -> bool:
    """Whether registers and shared memory hold it, loads run ahead, and Hopper's tensor cores take its rows."""
    if blocks.ring_bytes(config) > blocks.shared_limit(capability) or config["stages"] < 2:
        return False
    # Hopper's tensor cores take 64 rows of 4 warps, and smaller blocks than these read more than they multiply.
    few = config["block_m"] < 64 or config["warps"] < 4 or config["block_k"] < 64 or config["block_n"] < 64
    if capability == (9, 0) and few:
        return False
    return 32 <= blocks.sums_a_thread(config, config["warps"]) <= blocks.MOST_SUMS


def matmul(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None, kernel: str
) -> torch.Tensor:
    """`(a @ b) * row_scale * col_scale + bias` in bf16 by the candidate called `kernel`; a (M, K), b (K, N) int8, on CUDA.

    The kernel applies the row's scale and writes float32; the columns' scale and the bias are a second kernel, as in torchao.
    """
    from profiler.kernels.int_scaled_matmul_triton import scale

    given = operands(a, b, row_scale, col_scale, bias)
    rows, out = given.empty(torch.float32), given.empty()
    spread = given.row_scale[:, None].expand(rows.shape)
    own_kernel(given.a, given.weight.t(), spread, rows, blocks.config_of(kernel))
    scale(rows, None, given.col_scale, given.bias, out)
    return out


def own_kernel(a: torch.Tensor, b: torch.Tensor, spread: torch.Tensor, out: torch.Tensor, config: Any) -> None:
    """torchao's kernel itself: `out` (M, N) = (a @ b) * spread, with a row's scale spread over its columns by stride 0."""
    import triton
    from torchao.kernel.intmm_triton import int_scaled_matmul_kernel

    kwargs = {f"BLOCK_{side}": config[f"block_{side.lower()}"] for side in "MNK"} | {"GROUP_M": _GROUP}
    int_scaled_matmul_kernel(a, b, spread, out, triton.Config(kwargs, num_stages=config["stages"], num_warps=config["warps"]))

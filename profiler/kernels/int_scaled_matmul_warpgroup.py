"""The space `warpgroup`: the Gluon kernel whose warps have roles (`warpgroup_kernel`)."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from profiler.kernels import blocks
from profiler.kernels.candidate import Candidate, Shape
from profiler.kernels.operands import ALIGNMENT, operands

SPACE = "warpgroup"
# (block_m, block_n): (stages, parts), as many as shared memory holds.
_BLOCKS = {
    (128, 256): ((4, 2), (3, 1)),
    (256, 128): ((4, 2), (3, 1)),
    (128, 128): ((6, 1),),
    (128, 64): ((8, 1),),
}
_GROUPS, _SLICES = (4, 8, 16), (1, 2, 4)
# Barriers, and what the compiler adds for warps that change their role.
_MORE_BYTES = 512
_MULTIPLIERS = 8


def candidates(shape: Shape, hardware: Any) -> list[Candidate]:
    """What fits a shape on a Hopper GPU; none on others, none where the copy engine cannot read the rows."""
    if hardware.capability != (9, 0) or shape.k % ALIGNMENT or (2 * shape.n) % ALIGNMENT:
        return []
    programs = blocks.multiprocessors(hardware)
    found: dict[tuple[Any, ...], dict[str, int]] = {}
    for each in (config for pair in _BLOCKS for config in _configs(*pair)):
        if fits(each) and blocks.sensible(shape, each, programs):
            # `slices` that come to the same division of the work are one candidate.
            shared = cut(blocks.tiles(shape, each), -(-shape.k // each["block_k"]), programs, each["slices"])
            found.setdefault((*(value for key, value in each.items() if key != "slices"), shared), each)
    return [blocks.candidate(SPACE, each) for each in found.values()]


def _configs(block_m: int, block_n: int) -> list[dict[str, int]]:
    wides = (1, 0) if block_n == 256 else (0,)
    return [
        {"block_m": block_m, "block_n": block_n, "block_k": 128, "stages": stages, "group": group}
        | {"parts": parts, "slices": slices, "wide": wide}
        for (stages, parts), group, slices, wide in product(_BLOCKS[block_m, block_n], _GROUPS, _SLICES, wides)
        # What Triton makes by itself of 256 columns is tried in one order of the tiles only.
        if wide or block_n != 256 or group == _GROUPS[1]
    ]


def shared_bytes(config: dict[str, int]) -> int:
    """Shared memory of a program: the ring, the block to be stored, and the rest."""
    return blocks.ring_bytes(config) + 2 * config["block_m"] * config["block_n"] // config["parts"] + _MORE_BYTES


def fits(config: dict[str, int]) -> bool:
    """Whether registers and shared memory hold it."""
    sums = blocks.sums_a_thread(config, _MULTIPLIERS)
    return shared_bytes(config) <= blocks.shared_limit((9, 0)) and sums <= blocks.MOST_SUMS


def cut(tiles: int, steps: int, programs: int, slices: int) -> tuple[int, int]:
    """(tiles done by one program each, programs for each of the others).

    The others are those of the last wave that does not fill the device: at most `slices` programs share one, none has more
    than one such piece, and a piece has at least 4 K steps, or handing sums over costs more than it spares.
    """
    rest = tiles % programs
    shared = min(slices, programs // rest, steps // 4) if rest else 1
    return (tiles - rest, shared) if shared > 1 else (tiles, 1)


def matmul(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None, kernel: str
) -> torch.Tensor:
    """`(a @ b) * row_scale * col_scale + bias` in bf16 by the candidate called `kernel`; a (M, K), b (K, N) int8, on CUDA."""
    from profiler.kernels.int_scaled_matmul_gluon import warpgroup_matmul

    given = operands(a, b, row_scale, col_scale, bias)
    out = given.empty()
    warpgroup_matmul(*given, out, **blocks.config_of(kernel))
    return out

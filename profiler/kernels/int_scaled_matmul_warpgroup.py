"""The space `warpgroup`: the Gluon kernel whose warps have roles (`warpgroup_kernel`)."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from profiler.kernels import blocks
from profiler.kernels.candidate import Candidate, Shape
from profiler.kernels.operands import ALIGNMENT, operands
from profiler.kernels.relaunch import keep

SPACE = "warpgroup"
# (block_m, block_n): (stages, parts), as many as shared memory holds.
_BLOCKS = {
    (128, 256): ((4, 2), (3, 1)),
    (256, 128): ((4, 2), (3, 1)),
    (128, 128): ((6, 1),),
    (128, 64): ((8, 1),),
}
_GROUPS, _SLICES = (8, 4, 16), (1, 2, 3, 4, 8)
# Barriers, and what the compiler adds for warps that change their role.
_MORE_BYTES = 512
_MULTIPLIERS = 8


def candidates(shape: Shape, hardware: Any) -> list[Candidate]:
    """What fits a shape on a Hopper GPU; none on others, none where the copy engine cannot read the rows."""
    if hardware.capability != (9, 0) or shape.k % ALIGNMENT or (2 * shape.n) % ALIGNMENT:
        return []
    programs = blocks.multiprocessors(hardware)
    configs = (config for pair in _BLOCKS for config in _configs(*pair))
    return [
        blocks.candidate(SPACE, each)
        for each in configs
        if fits(each) and blocks.sensible(shape, each, programs) and _worth(shape, each, programs)
    ]


def _worth(shape: Shape, config: dict[str, int], programs: int) -> bool:
    """Whether `slices` cuts something."""
    tiles, steps = blocks.tiles(shape, config), -(-shape.k // config["block_k"])
    return config["slices"] == 1 or cut(tiles, steps, programs, config["slices"]) < tiles


def _configs(block_m: int, block_n: int) -> list[dict[str, int]]:
    wides = (1, 0) if block_n == 256 else (0,)
    return [
        {"block_m": block_m, "block_n": block_n, "block_k": 128, "stages": stages, "group": group}
        | {"parts": parts, "slices": slices, "lead": lead, "wide": wide}
        for (stages, parts), group, slices, wide in product(_BLOCKS[block_m, block_n], _GROUPS, _SLICES, wides)
        for lead in (0, stages - 1)
        # Of the many combinations: other orders of the tiles, and narrow instructions of 256 columns, by themselves only.
        if group == _GROUPS[0] or (slices == 1 and wide == wides[0])
        if wide == wides[0] or lead
    ]


def shared_bytes(config: dict[str, int]) -> int:
    """Shared memory of a program: the ring, the block to be stored, and the rest."""
    return blocks.ring_bytes(config) + 2 * config["block_m"] * config["block_n"] // config["parts"] + _MORE_BYTES


def fits(config: dict[str, int]) -> bool:
    """Whether registers and shared memory hold it."""
    sums = blocks.sums_a_thread(config, _MULTIPLIERS)
    return shared_bytes(config) <= blocks.shared_limit((9, 0)) and sums <= blocks.MOST_SUMS


def cut(tiles: int, steps: int, programs: int, slices: int) -> int:
    """How many tiles are done by one program each; each of the others is cut along K for `slices` programs.

    The others are those of the last wave, where it leaves so much of the device idle that no program has two pieces, and where a
    piece has at least 4 K steps, or handing sums over costs more than it spares. Elsewhere there are none.
    """
    rest = tiles % programs
    fits = slices > 1 and rest * slices <= programs and steps >= 4 * slices
    return tiles - rest if fits else tiles


def matmul(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None, kernel: str
) -> torch.Tensor:
    """`(a @ b) * row_scale * col_scale + bias` in bf16 by the candidate called `kernel`; a (M, K), b (K, N) int8, on CUDA."""
    from profiler.kernels.int_scaled_matmul_gluon import warpgroup_matmul

    given = operands(a, b, row_scale, col_scale, bias)
    out = given.empty()
    launched = warpgroup_matmul(*given, out, **blocks.config_of(kernel))
    keep(a, b, row_scale, col_scale, bias, kernel, launched)
    return out

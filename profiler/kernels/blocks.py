"""Kernels that work in blocks: how a configuration is written in a kernel's name, and what fits a GPU. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import ceil
from typing import Any

from profiler.kernels.candidate import Candidate, Shape

# Bytes of shared memory that one program may have, by compute capability (CUDA programming guide, technical specifications).
_SHARED_KIB = {(8, 0): 163, (8, 6): 99, (8, 7): 163, (8, 9): 99, (9, 0): 227, (10, 0): 227, (10, 3): 227, (12, 0): 99}
_SMALLEST_SHARED_KIB = 99
# 32-bit sums a thread may hold: the other half of its 255 registers is for operands, addresses and the epilogue.
MOST_SUMS = 128
# Of an H100 SXM; a search that knows better passes `multiprocessors` with its hardware.
_MULTIPROCESSORS = 132


def shared_limit(capability: tuple[int, int]) -> int:
    """Bytes of shared memory that one program may have on a GPU of this compute capability."""
    return _SHARED_KIB.get(capability, _SMALLEST_SHARED_KIB) << 10


def sums_a_thread(config: Mapping[str, int], warps: int) -> int:
    """Registers that hold a block's sums: one an output."""
    return config["block_m"] * config["block_n"] // (32 * warps)


def ring_bytes(config: Mapping[str, int]) -> int:
    """Shared memory of the blocks of both operands, all stages."""
    return config["stages"] * (config["block_m"] + config["block_n"]) * config["block_k"]


def tiles(shape: Shape, config: Mapping[str, int]) -> int:
    """How many blocks cover the output."""
    return ceil(shape.m / config["block_m"]) * ceil(shape.n / config["block_n"])


def multiprocessors(hardware: Any) -> int:
    """How many the hardware has; an H100's where it does not say."""
    return getattr(hardware, "multiprocessors", None) or _MULTIPROCESSORS


def sensible(shape: Shape, config: Mapping[str, int], programs: int) -> bool:
    """No block twice as large as the output on a side, or more than twice as long as K, and none that reads more than it must.

    A block of m x n reads (m + n) bytes for m x n products: below 128 x 128 the tensor cores wait for L2, which is worth it only
    where larger blocks leave multiprocessors idle.
    """
    block_m, block_n = config["block_m"], config["block_n"]
    if block_m >= 2 * max(shape.m, 32) or block_n >= 2 * max(shape.n, 32) or config["block_k"] > 2 * max(shape.k, 32):
        return False
    return block_m * block_n >= 128 * 128 or ceil(shape.m / 128) * ceil(shape.n / 128) < 2 * programs


def candidate(space: str, config: Mapping[str, int]) -> Candidate:
    """A candidate whose name holds its whole configuration: `space:key=value,...`."""
    return Candidate(f"{space}:" + ",".join(f"{key}={value}" for key, value in config.items()), space, dict(config))


@lru_cache(maxsize=4096)
def config_of(kernel: str) -> Mapping[str, int]:
    """The configuration in a kernel's name.

    Raises:
        ValueError: the name is not written as `candidate` writes it.
    """
    pairs = [each.partition("=") for each in kernel.partition(":")[2].split(",")]
    if any(not key or not value.isdecimal() for key, _, value in pairs):
        raise ValueError(f"{kernel!r} names no configuration: SPACE:key=number,...")
    return {key: int(value) for key, _, value in pairs}

"""Random weights: a function of the seed and each parameter's name alone, the same on every device."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from profiler.core.imports import uncollected

# A prime, so that the rows of no weight matrix repeat with the block's period.
_BLOCK = 16_777_213
_SMALL_BLOCK = 1_048_573


@contextmanager
def empty_weights(device: str, dtype: Any) -> Iterator[None]:
    """Build modules directly on a device in a dtype, their weights left uninitialized."""
    with uncollected(keep="diffusers" not in sys.modules):
        import torch
        from diffusers import DiffusionPipeline  # noqa: F401 - who builds in here imports as much in any case
        from transformers.initialization import no_init_weights

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), no_init_weights():
            yield
    finally:
        torch.set_default_dtype(before)


def with_random_weights(components: Callable[[], dict[str, Any]], device: str, dtype: Any, seed: int) -> dict[str, Any]:
    """The components that a function makes, by name, built on a device in a dtype and filled."""
    with empty_weights(device, dtype):
        parts = components()
    for name, part in parts.items():
        fill(part, seed, name)
    return parts


def fill(module: Any, seed: int, prefix: str) -> None:
    """Fill every parameter of a module in place.

    Weights of two and more dimensions are normal with variance 1 / fan-in, so that activations neither die nor
    overflow; one-dimensional weights (norms) are one, biases small.

    Args:
        prefix: the component's name, part of each parameter's own seed.
    """
    import torch

    parameters = dict(module.named_parameters())
    if not parameters:
        return
    first = next(iter(parameters.values()))
    largest = max(each.numel() for each in parameters.values())
    length = _BLOCK if largest > _SMALL_BLOCK else _SMALL_BLOCK
    # Drawn on the CPU: CUDA's generator would give other numbers.
    block = torch.randn(length, generator=torch.Generator().manual_seed(seed)).to(first.device, first.dtype)
    with torch.no_grad():
        for name, parameter in parameters.items():
            _fill_one(parameter, name, block, zlib.crc32(f"{prefix}.{name}".encode()) % length)


def _fill_one(parameter: Any, name: str, block: Any, offset: int) -> None:
    if parameter.dim() < 2 and not name.endswith("bias"):
        parameter.fill_(1.0)
        return
    std = 0.02 if parameter.dim() < 2 else (parameter.numel() / parameter.shape[0]) ** -0.5
    flat = parameter.view(-1) if parameter.is_contiguous() else parameter.reshape(-1)
    done = 0
    while done < flat.numel():
        count = min(block.numel() - offset, flat.numel() - done)
        flat[done : done + count].copy_(block[offset : offset + count])
        done, offset = done + count, 0
    flat.mul_(std)

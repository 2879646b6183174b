"""The same module with its repeated blocks cut to the first few, on the CPU with random weights: small enough to run for real."""

from __future__ import annotations

import os
from typing import Any

from profiler.core.errors import Refused
from profiler.core.units import format_size
from profiler.models.random_weights import fill

# Two, so that a loop over blocks is still a loop.
KEPT = 2


def cut_to_cpu(module: Any, seed: int, name: str) -> str:
    """Cut a module on the meta device in place and give it weights on the CPU; returns what is left, in words.

    Raises:
        Refused: what is left does not fit into this machine's free memory.
    """
    import torch

    cut = _cut_blocks(module)
    needed = sum(each.numel() * each.element_size() for each in [*module.parameters(), *module.buffers()])
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > free:
        raise Refused(f"{name} needs {format_size(needed)} to run on the CPU, and {format_size(free)} are free")
    module.to_empty(device="cpu")
    if hasattr(module, "tie_weights"):
        module.tie_weights()
    fill(module, seed, name)
    with torch.no_grad():
        for buffer in module.buffers():
            _fill_buffer(buffer)
    return ", ".join(cut) or "every block"


def _cut_blocks(module: Any) -> list[str]:
    """Keep the first blocks of each list of identical ones; which lists, in words."""
    import torch

    cut: dict[str, str] = {}
    for name, child in list(module.named_modules()):
        inside = any(name.startswith(f"{outer}.") for outer in cut)
        if isinstance(child, torch.nn.ModuleList) and len(child) > KEPT and not inside and _identical(child):
            cut[name] = f"{KEPT} of {len(child)} {name}"
            del child[KEPT:]
    return list(cut.values())


def _identical(blocks: Any) -> bool:
    shapes = [(type(each), [(name, tuple(value.shape)) for name, value in each.named_parameters()]) for each in blocks]
    return all(each == shapes[0] for each in shapes)


def _fill_buffer(buffer: Any) -> None:
    """Positions count up, everything else is one: a buffer's own values were never made on the meta device."""
    import torch

    if buffer.dim() and buffer.dtype in (torch.int64, torch.int32):
        buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    else:
        buffer.fill_(1)

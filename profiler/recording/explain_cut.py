"""The same module with its repeated blocks cut to the first few, on the CPU with random weights: small enough to run for real."""

from __future__ import annotations

import os
import re
from pathlib import Path
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
    free = _free_bytes()
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
    """Keep the first blocks of each list of repeated ones; which lists, in words."""
    import torch

    cut: dict[str, str] = {}
    for name, child in list(module.named_modules()):
        inside = any(name.startswith(f"{outer}.") for outer in cut)
        if isinstance(child, torch.nn.ModuleList) and len(child) > KEPT and not inside and _identical(child):
            cut[name] = f"{KEPT} of {len(child)} {name}"
            del child[KEPT:]
    return list(cut.values())


def _identical(blocks: Any) -> bool:
    """Whether all blocks but the first are the same; the first may hold more (T5's relative positions)."""
    shapes = [(type(each), [(name, tuple(value.shape)) for name, value in each.named_parameters()]) for each in blocks]
    return all(each == shapes[1] for each in shapes[1:])


def _free_bytes() -> int:
    meminfo = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable: +(\d+) kB", meminfo.read_text(), re.MULTILINE) if meminfo.is_file() else None
    return int(found.group(1)) * 1024 if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _fill_buffer(buffer: Any) -> None:
    """Positions count up, everything else is one: a buffer's own values were never made on the meta device."""
    import torch

    if buffer.dim() and buffer.dtype in (torch.int64, torch.int32):
        buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    else:
        buffer.fill_(1)

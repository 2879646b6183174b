"""regional: each repeated block by itself, so that one compilation serves them all."""

from typing import Any

from profiler.compilers.base import COMPILERS, Compiler


def blocks(module: Any) -> list[str]:
    """Names of the members of every ModuleList directly below the module.

    diffusers' own list (`_repeated_blocks`) is empty for CogVideoX; the structure says the same for every family.
    """
    from torch.nn import ModuleList

    lists = [(name, child) for name, child in module.named_children() if isinstance(child, ModuleList)]
    return [f"{name}.{index}" for name, child in lists for index in range(len(child))]


COMPILERS.add("regional", Compiler(name="regional", summary="each repeated block in place", regions=blocks, options={}))

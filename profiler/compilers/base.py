"""What a compile mode is, and the registry of modes. No torch at import."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from profiler.core.errors import Refused
from profiler.core.registry import Registry

COMPILERS: Registry[Compiler] = Registry("compile mode", "profiler.compilers")


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """A way to compile a transformer.

    Attributes:
        regions: the names of the submodules it compiles, "" for the whole module, given the module.
        options: keyword arguments of `torch.compile`.
        needs_cuda: refused on a CPU.

    `fullgraph` is never forced: a graph break is what a recording should show, not what should stop it.
    """

    name: str
    summary: str
    regions: Callable[[Any], list[str]] = lambda _module: [""]
    options: dict[str, Any]
    needs_cuda: bool = False

    def apply(self, module: Any, *, inside_hooks: bool = False) -> list[str]:
        """Compile the module's regions in place; returns their names.

        Args:
            inside_hooks: compile each region's forward itself, so that hooks put around it later stay outside of the graph.
        """
        names = self.regions(module)
        for name in names:
            self._compile(module.get_submodule(name), inside_hooks)
        return names

    def _compile(self, region: Any, inside_hooks: bool) -> None:
        if not inside_hooks:
            region.compile(**self.options)
            return
        import torch

        # Kept under a name of its own too: hooks will hide it, and a recording must still see that this is a region.
        region._compiled_forward = region.forward = torch.compile(region.forward, **self.options)


def refuse_machine(compiler: Compiler, device: str) -> None:
    """Raise Refused where this machine cannot compile in that mode, before anything loads."""
    if compiler.name == "none":
        return
    if device == "cpu" and compiler.needs_cuda:
        raise Refused(
            f"--compile {compiler.name} needs CUDA: it replays CUDA graphs", "use --compile default or regional on a CPU"
        )
    if device == "cpu" and not _cxx():
        raise Refused(
            "compiling on the CPU needs a C++ compiler, and none is on the PATH",
            "install one (Debian: apt-get install g++), or record with --compile none",
        )
    if device == "cuda" and not _has_triton():
        raise Refused("compiling for CUDA needs the package triton", "install it (pip install triton), or use --compile none")


def _cxx() -> str | None:
    asked = os.environ.get("CXX")
    return shutil.which(asked) if asked else shutil.which("g++") or shutil.which("clang++")


def _has_triton() -> bool:
    import importlib.util

    return importlib.util.find_spec("triton") is not None

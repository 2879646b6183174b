"""default: the whole transformer as one graph."""

from profiler.compilers.base import COMPILERS, Compiler

COMPILERS.add("default", Compiler(name="default", summary="the whole transformer, torch.compile's defaults", options={}))

"""none: eager."""

from profiler.compilers.base import COMPILERS, Compiler

COMPILERS.add("none", Compiler(name="none", summary="eager, nothing compiled", regions=lambda _module: [], options={}))

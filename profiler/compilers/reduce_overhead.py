"""reduce-overhead: the whole transformer replayed as CUDA graphs."""

from profiler.compilers.base import COMPILERS, Compiler

COMPILERS.add(
    "reduce-overhead",
    Compiler(
        name="reduce-overhead",
        summary="the whole transformer as CUDA graphs",
        options={"mode": "reduce-overhead"},
        needs_cuda=True,
    ),
)

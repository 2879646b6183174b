"""max-autotune: every GEMM timed among templates, CUDA graphs on."""

from profiler.compilers.base import COMPILERS, Compiler

COMPILERS.add(
    "max-autotune",
    Compiler(name="max-autotune", summary="the whole transformer, kernels tuned", options={"mode": "max-autotune"}),
)

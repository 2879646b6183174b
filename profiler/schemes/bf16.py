"""bf16: the base that the others are measured against."""

from profiler.schemes.base import SCHEMES, Scheme

SCHEMES.add("bf16", Scheme(name="bf16", summary="bfloat16 weights and activations"))

"""fp4_e2m1: 4-bit floats (2 bits of exponent, 1 of mantissa) with one scale a row, really packed, multiplied in bf16."""

from profiler.schemes.base import SCHEMES, Scheme
from profiler.schemes.packed import accepts, config_of

SCHEMES.add(
    "fp4_e2m1",
    Scheme(
        name="fp4_e2m1",
        summary="4-bit float weights, packed, bf16 GEMM",
        config=config_of("fp4_e2m1"),
        accepts=accepts("fp4_e2m1"),
    ),
)

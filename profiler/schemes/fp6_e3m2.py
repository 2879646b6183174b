"""fp6_e3m2: 6-bit floats (3 bits of exponent, 2 of mantissa) with one scale a row, really packed, multiplied in bf16."""

from profiler.schemes.base import SCHEMES, Scheme
from profiler.schemes.packed import accepts, config_of

SCHEMES.add(
    "fp6_e3m2",
    Scheme(
        name="fp6_e3m2",
        summary="6-bit float weights, packed, bf16 GEMM",
        config=config_of("fp6_e3m2"),
        accepts=accepts("fp6_e3m2"),
    ),
)

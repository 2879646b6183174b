"""fp5_e2m2: 5-bit floats (2 bits of exponent, 2 of mantissa) with one scale a row, really packed, multiplied in bf16."""

from profiler.schemes.base import SCHEMES, Scheme
from profiler.schemes.packed import accepts, config_of

SCHEMES.add(
    "fp5_e2m2",
    Scheme(
        name="fp5_e2m2",
        summary="5-bit float weights, packed, bf16 GEMM",
        config=config_of("fp5_e2m2"),
        accepts=accepts("fp5_e2m2"),
    ),
)

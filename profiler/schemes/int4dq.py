"""int4dq: int4 weights with one scale a 32 inputs, two in a byte; activations rounded to int8 in every call.

The numbers are those of torchao's `Int8DynamicActivationIntxWeightConfig`, which stores them a byte each. As there, the product
itself runs in bf16: a scale that changes along K leaves no int8 product to compute.
"""

from profiler.schemes.base import SCHEMES, Scheme
from profiler.schemes.packed import accepts, config_of

SCHEMES.add(
    "int4dq",
    Scheme(
        name="int4dq",
        summary="int4 weights, packed, and activations rounded to int8; bf16 GEMM",
        config=config_of("int4", rounds_activations=True),
        accepts=accepts("int4dq"),
        note="int4dq rounds activations to int8 and multiplies in bf16: the weights' scales change along K",
    ),
)

"""int8dq: int8 weights and activations, one scale a row of each."""

from typing import Any

from profiler.schemes.base import SCHEMES, Scheme


def _config(set_inductor_config: bool) -> Any:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    return Int8DynamicActivationInt8WeightConfig(set_inductor_config=set_inductor_config)


SCHEMES.add(
    "int8dq",
    Scheme(
        name="int8dq",
        summary="int8 weights and activations, one scale a row",
        config=_config,
        weight_only="int8wo",
        # `_int_mm` on CUDA wants more than 16 rows; K and N in eights.
        min_rows=17,
        multiple_of=8,
        min_capability=(8, 0),
    ),
)

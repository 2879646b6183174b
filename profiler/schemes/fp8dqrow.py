"""fp8dqrow: float8 weights and activations, one scale a row of each."""

from typing import Any

from profiler.schemes.base import SCHEMES, Scheme


def _config(set_inductor_config: bool) -> Any:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow

    return Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), set_inductor_config=set_inductor_config)


SCHEMES.add(
    "fp8dqrow",
    Scheme(
        name="fp8dqrow",
        summary="float8 weights and activations, one scale a row",
        config=_config,
        weight_only="fp8wo",
        min_rows=17,
        multiple_of=16,
        min_capability=(8, 9),
        needs_cuda=True,
    ),
)

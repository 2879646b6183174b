"""fp8dq: float8 weights and activations, one scale a tensor."""

from typing import Any

from profiler.schemes.base import SCHEMES, LinearInfo, Scheme


def _config(set_inductor_config: bool) -> Any:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig

    return Float8DynamicActivationFloat8WeightConfig(set_inductor_config=set_inductor_config)


def _accepts(linear: LinearInfo) -> str | None:
    # One scale for a 128x128 weight looks like one 128x128 block: torchao 0.18 takes it for blockwise and raises.
    if linear.in_features == linear.out_features == 128:
        return "torchao takes a 128x128 weight for blockwise scaling"
    return None


SCHEMES.add(
    "fp8dq",
    Scheme(
        name="fp8dq",
        summary="float8 weights and activations, one scale a tensor",
        config=_config,
        weight_only="fp8wo",
        min_rows=17,
        multiple_of=16,
        min_capability=(8, 9),
        needs_cuda=True,
        accepts=_accepts,
    ),
)

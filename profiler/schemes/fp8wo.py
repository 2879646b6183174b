"""fp8wo: float8 (e4m3) weights with one scale a row, multiplied in bf16."""

from typing import Any

from profiler.schemes.base import SCHEMES, Scheme


def _config(set_inductor_config: bool) -> Any:
    from torchao.quantization import Float8WeightOnlyConfig

    return Float8WeightOnlyConfig(set_inductor_config=set_inductor_config)


SCHEMES.add("fp8wo", Scheme(name="fp8wo", summary="float8 weights, bf16 GEMM", config=_config))

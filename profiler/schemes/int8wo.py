"""int8wo: int8 weights with one scale a row, multiplied in bf16."""

from typing import Any

from profiler.schemes.base import SCHEMES, Scheme


def _config(set_inductor_config: bool) -> Any:
    from torchao.quantization import Int8WeightOnlyConfig

    return Int8WeightOnlyConfig(set_inductor_config=set_inductor_config)


SCHEMES.add("int8wo", Scheme(name="int8wo", summary="int8 weights, bf16 GEMM", config=_config))

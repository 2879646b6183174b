"""Dynamically quantized Linears outside of every compiled block: several kernels and a host wait for each."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register

_OUTSIDE = ("x_embedder", "context_embedder", "proj_out")


def plant(pipe: Any) -> None:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    config = Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    quantize_(pipe.transformer, config, filter_fn=lambda _module, name: name in _OUTSIDE)


register(
    Fault(
        name="eager-quantized-linear",
        summary="int8dq Linears outside of the compiled blocks",
        plant=plant,
        file=here(),
        expects=("eager-quantized-linear",),
        fix="weight-only, or bf16, for Linears outside of compiled regions: diffuscope's own layer policy",
        spec={"compile": "regional"},
        needs_cuda=True,
        placed=False,
    ),
)

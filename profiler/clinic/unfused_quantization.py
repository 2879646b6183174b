"""Weights quantized anew in every step by an opaque operator: nothing can fuse with it, and nothing needs it."""

from __future__ import annotations

from functools import cache
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


@cache
def _to_float8() -> Any:
    import torch

    def quantize(weight: torch.Tensor) -> torch.Tensor:
        return weight.to(torch.float8_e4m3fn)

    quantize.__annotations__ = {"weight": torch.Tensor, "return": torch.Tensor}
    operator = torch.library.custom_op("diffuscope_clinic::to_float8", quantize, mutates_args=())
    operator.register_fake(lambda weight: torch.empty_like(weight, dtype=torch.float8_e4m3fn))
    return operator


def plant(pipe: Any) -> None:
    import torch

    operator = _to_float8()

    def requantized(block: Any, hidden: Any) -> Any:
        for linear in block.linears:
            hidden = hidden + 1e-9 * operator(linear.weight)[:1, :1].to(hidden.dtype)  # planted
        return hidden

    for block in pipe.transformer.transformer_blocks:
        block.linears = [module for module in block.modules() if isinstance(module, torch.nn.Linear)]
    in_blocks(pipe, requantized)


register(
    Fault(
        name="unfused-quantization",
        summary="weights are quantized in every step by an opaque operator",
        plant=plant,
        file=here(),
        expects=("quantize-overhead",),
        fix="quantize weights once, when the model is loaded",
        spec={"compile": "regional"},
        needs_cuda=True,
        placed=False,
    ),
)

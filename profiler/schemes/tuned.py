"""The forward of int8dq Linears whose shape has a tuned kernel: torchao's quantization, then one fused product."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from profiler.kernels.candidate import Shape
from profiler.kernels.tuned import Entry
from profiler.schemes.base import LinearPlan

# The one scheme whose product these kernels compute.
SCHEME = "int8dq"


def kernel_of(plan: LinearPlan, entries: Mapping[Shape, Entry]) -> str | None:
    """The kernel that a table has for a Linear; None where it stays torchao's own, for want of an entry or of a gain."""
    if plan.scheme != SCHEME or plan.rows is None:
        return None
    entry = entries.get(Shape(plan.rows, plan.in_features, plan.out_features))
    return entry.kernel if entry and entry.pays else None


def use_tuned_forward(linear: Any, kernel: str) -> None:
    """Let an int8dq-quantized `torch.nn.Linear` multiply by the kernel called so."""
    linear.tuned_kernel = kernel
    linear.__class__ = _tuned_class()


@cache
def _tuned_class() -> Any:
    # Made at first use: this room's modules are imported to list the schemes, which must not import torch.
    import torch
    from torchao.quantization.quantize_.workflows import Int8Tensor

    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    # The very function that torchao's own forward calls: the int8 values are the same, bit for bit. It makes an Int8Tensor of
    # them, which AOTAutograd's cache takes for an unknown function in the graph: such a graph is compiled in every process anew.
    quantize_into = Int8Tensor.from_hp.__func__

    class TunedLinear(torch.nn.Linear):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            weight = self.weight
            how = weight.act_quant_kwargs
            quantized, scale = quantize_into(
                _parts, x, how.granularity, mapping_type=how.mapping_type, reduce_range=how.reduce_range
            )
            rows = quantized.reshape(-1, quantized.shape[-1])
            scales = scale.reshape(-1), weight.scale.reshape(-1)
            out = int_scaled_matmul(rows, weight.qdata.t(), *scales, self.bias, self.tuned_kernel)
            return out.reshape(*x.shape[:-1], out.shape[-1]).to(x.dtype)

    return TunedLinear


def _parts(qdata: Any, scale: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
    """In the place of `Int8Tensor`: what it would be made of, as plain tensors."""
    return qdata, scale

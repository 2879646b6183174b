"""A 2:4 sparse float8 weight as a tensor of torchao's kind, multiplied by torchao's CUTLASS kernel for Hopper.

torchao has such a tensor, whose Linear takes inputs of two dimensions alone; a transformer's have three.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torchao.ops import rowwise_scaled_linear_sparse_cutlass_f8f8, to_sparse_semi_structured_cutlass_sm9x_f8
from torchao.quantization.granularity import PerRow
from torchao.quantization.quantize_.common import _choose_quant_func_and_quantize_tensor as quantize
from torchao.quantization.quantize_.workflows import QuantizeTensorToFloat8Kwargs
from torchao.utils import TorchAOBaseTensor

from profiler.kernels.two_of_four import keep_two_of_four, pack, parts, unpack, where_packed

# One scale a row, of the weight and of the activations.
_BY_ROWS = QuantizeTensorToFloat8Kwargs(granularity=PerRow())


class SparseFloat8Tensor(TorchAOBaseTensor):  # type: ignore[misc]
    """A pruned and quantized weight, whose Linear quantizes its activations in every call as fp8dqrow does.

    Attributes:
        qdata: (N, K / 2) float8_e4m3fn, what stays.
        sparse_metadata: uint8, where it stood; on CUDA as the kernel lays it out, on a CPU as `two_of_four.pack` does.
        scale: (N,) float32.
    """

    tensor_data_names: ClassVar[list[str]] = ["qdata", "sparse_metadata", "scale"]
    tensor_attribute_names: ClassVar[list[str]] = ["dtype"]

    def __new__(cls, qdata: Any, sparse_metadata: Any, scale: Any, dtype: Any) -> Any:
        made = torch.Tensor._make_wrapper_subclass
        return made(cls, (qdata.shape[0], 2 * qdata.shape[1]), device=qdata.device, dtype=dtype, requires_grad=False)

    def __init__(self, qdata: Any, sparse_metadata: Any, scale: Any, dtype: Any) -> None:
        super().__init__()
        self.qdata, self.sparse_metadata, self.scale = qdata, sparse_metadata, scale

    @classmethod
    def from_dense(cls, weight: Any) -> Any:
        """Prune by magnitude, then quantize: torchao packs a weight and does not prune it."""
        quantized = quantize(keep_two_of_four(where_packed(weight)), _BY_ROWS)
        scale = quantized.scale.reshape(-1).to(torch.float32)
        return cls(*compress(quantized.qdata), scale, weight.dtype).to(weight.device)


def compress(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A pruned float8 weight (N, K) as its data and their places, as the product takes them on the weight's device."""
    if weight.is_cuda:
        data, places = to_sparse_semi_structured_cutlass_sm9x_f8(weight)
        return data, places
    rows, columns = weight.shape
    data, places = parts(pack(weight.view(torch.int8)), columns)
    return data.reshape(rows, -1).view(weight.dtype), places.reshape(rows, -1).view(torch.uint8)


def sparse_fp8_matmul(
    rows: torch.Tensor, row_scale: torch.Tensor, weight: Any, bias: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """`(rows @ weight.T) * row_scale * weight.scale + bias`, summed in float32.

    Args:
        rows: (M, K) float8_e4m3fn.
        row_scale: (M,) float32.
        weight: a SparseFloat8Tensor (N, K).
        bias: N values of `dtype`, or None.
        dtype: of the result, bfloat16 or float16.
    """
    data, places, scale = weight.qdata, weight.sparse_metadata, weight.scale
    if rows.is_cuda:
        out: torch.Tensor = rowwise_scaled_linear_sparse_cutlass_f8f8(rows, row_scale, data, places, scale, bias, dtype)
        return out
    packed = torch.cat([each.view(torch.int8).reshape(-1) for each in (data, places)]).reshape(data.shape[0], -1)
    dense = unpack(packed).view(data.dtype).to(torch.float32)
    scaled = (rows.to(torch.float32) @ dense.t()) * scale * row_scale.reshape(-1, 1)
    return (scaled if bias is None else scaled + bias).to(dtype)


def _linear(_func: Any, _types: Any, args: Any, kwargs: Any) -> Any:
    x, weight = args[0], args[1]
    bias = args[2] if len(args) > 2 else kwargs.get("bias")
    quantized = quantize(x, _BY_ROWS)
    # The kernel's own check wants as many scales as rows, in one dimension less than the rows have.
    rows = quantized.qdata.reshape(-1, x.shape[-1])
    out = sparse_fp8_matmul(rows, quantized.scale.reshape(-1), weight, bias, x.dtype)
    return out.reshape(*x.shape[:-1], weight.shape[0])


SparseFloat8Tensor.implements([torch.ops.aten.linear.default])(_linear)
SparseFloat8Tensor.implements_torch_function([torch.nn.functional.linear])(_linear)

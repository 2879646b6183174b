"""A 2:4 sparse int8 weight as a tensor of torchao's kind: it moves, compiles and multiplies like torchao's own."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torchao.quantization.granularity import PerRow
from torchao.quantization.quantize_.common import _choose_quant_func_and_quantize_tensor as quantize_activations
from torchao.quantization.quantize_.workflows import Int8Tensor, QuantizeTensorToInt8Kwargs
from torchao.utils import TorchAOBaseTensor

from profiler.kernels.sparse_matmul import compress, sparse_matmul
from profiler.kernels.two_of_four import keep_two_of_four, parts, where_packed


class SparseInt8Tensor(TorchAOBaseTensor):  # type: ignore[misc]
    """A pruned and quantized weight, whose Linear quantizes its activations in every call as int8dq does.

    Attributes:
        packed: half of the elements and their places, as `compress` gave them.
        scale: (N,) float32.
        dense_shape: [N, K].
    """

    tensor_data_names: ClassVar[list[str]] = ["packed", "scale"]
    tensor_attribute_names: ClassVar[list[str]] = ["dense_shape", "dtype"]

    def __new__(cls, packed: Any, scale: Any, dense_shape: list[int], dtype: Any) -> Any:
        made = torch.Tensor._make_wrapper_subclass
        return made(cls, dense_shape, device=packed.device, dtype=dtype, requires_grad=False)

    def __init__(self, packed: Any, scale: Any, dense_shape: list[int], dtype: Any) -> None:
        super().__init__()
        self.packed, self.scale, self.dense_shape = packed, scale, dense_shape

    @classmethod
    def from_dense(cls, weight: Any) -> Any:
        """Prune by magnitude, then quantize with one scale a row: what is largest in a row stays, and so does its scale."""
        quantized = Int8Tensor.from_hp(keep_two_of_four(where_packed(weight)), granularity=PerRow())
        scale = quantized.scale.reshape(-1).to(torch.float32)
        return cls(compress(quantized.qdata), scale, list(weight.shape), weight.dtype).to(weight.device)

    def described(self) -> list[tuple[str, Any]]:
        """(role, tensor) of what is stored, data and places apart; both are views of one storage."""
        data, places = parts(self.packed, self.dense_shape[1])
        return [("quantized data", data), ("sparsity metadata", places), ("scale", self.scale)]


def _linear(_func: Any, _types: Any, args: Any, kwargs: Any) -> Any:
    x, weight = args[0], args[1]
    bias = args[2] if len(args) > 2 else kwargs.get("bias")
    quantized = quantize_activations(x, QuantizeTensorToInt8Kwargs(granularity=PerRow()))
    rows = quantized.qdata.reshape(-1, quantized.qdata.shape[-1])
    out = sparse_matmul(rows, weight.packed, weight.scale) * quantized.scale.reshape(-1, 1)
    out = out if bias is None else out + bias
    return out.reshape(*x.shape[:-1], weight.dense_shape[0]).to(x.dtype)


SparseInt8Tensor.implements([torch.ops.aten.linear.default])(_linear)
SparseInt8Tensor.implements_torch_function([torch.nn.functional.linear])(_linear)

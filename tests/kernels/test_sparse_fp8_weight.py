"""fp8-sparse on a CPU: the Linear around torchao's kernel, and what the kernel is handed on a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchao.quantization.granularity import PerRow
from torchao.quantization.quantize_.workflows import Float8Tensor

from profiler.core.scheme_bytes import weight_bytes
from profiler.kernels import sparse_fp8_weight
from profiler.kernels.sparse_fp8_weight import SparseFloat8Tensor
from profiler.kernels.two_of_four import keep_two_of_four, pack, unpack
from profiler.recording.weights import flatten
from profiler.schemes.apply import quantize
from profiler.schemes.base import LinearPlan

FLOAT8 = torch.float8_e4m3fn


def converted(*, bias: bool = True) -> tuple[Any, Any]:
    """A Linear under the scheme, and its pruned weight as torchao quantizes it where nothing is sparse."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(256, 128, bias=bias, dtype=torch.bfloat16))
    dense = Float8Tensor.from_hp(keep_two_of_four(model[0].weight.detach()), granularity=PerRow())
    quantize(model, [LinearPlan("m.0", 256, 128, 20, "fp8-sparse")], prefix="m.", torchao_defaults=False)
    return model[0], dense


def sqnr(exact: torch.Tensor, out: torch.Tensor) -> float:
    return float(20 * torch.log10(exact.norm() / (exact - out.double()).norm()))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(256,), (20, 256), (2, 10, 256), (1, 2, 10, 256)])
def test_an_input_of_any_dimensions_gives_the_product_of_the_pruned_weight(shape: tuple[int, ...], bias: bool):
    linear, dense = converted(bias=bias)
    x = torch.randn(shape, dtype=torch.bfloat16)
    exact = torch.nn.functional.linear(x.double(), dense.dequantize().double(), linear.bias.detach().double() if bias else None)
    with torch.no_grad():
        out = linear(x)
    assert out.shape == (*shape[:-1], 128)
    assert out.dtype == torch.bfloat16
    # What is left is the rounding of the activations: float8 has about 31 dB.
    assert sqnr(exact, out) > 28


def test_what_it_keeps_is_the_pruned_weight_in_float8_to_the_bit():
    linear, dense = converted()
    weight = linear.weight
    packed = torch.cat([weight.qdata.view(torch.int8).reshape(-1), weight.sparse_metadata.view(torch.int8).reshape(-1)])
    assert torch.equal(unpack(packed.reshape(128, -1)).view(FLOAT8).float(), dense.qdata.float())
    assert torch.equal(weight.scale, dense.scale.reshape(-1))


def test_it_is_stored_in_five_eighths_of_a_byte_and_says_so():
    weight = converted()[0].weight
    sizes = {role: each.numel() * each.element_size() for role, each in flatten(weight)}
    assert sizes == {"quantized data": 256 * 128 // 2, "sparsity metadata": 256 * 128 // 8, "scale": 4 * 128}
    by_arithmetic = weight_bytes("fp8-sparse", 128, 256)
    assert by_arithmetic is not None
    assert by_arithmetic.total == sum(sizes.values())
    assert (weight.shape, weight.dtype) == ((128, 256), torch.bfloat16)


def test_it_moves_like_a_weight():
    linear, _ = converted()
    linear.to("meta")
    assert {each.device.type for _, each in flatten(linear.weight)} == {"meta"}
    assert linear.weight.dtype == torch.bfloat16


def test_a_dense_weight_is_pruned_by_magnitude():
    weight = torch.randn(8, 16, dtype=torch.bfloat16)
    made = SparseFloat8Tensor.from_dense(weight)
    packed = torch.cat([made.qdata.view(torch.int8).reshape(-1), made.sparse_metadata.view(torch.int8).reshape(-1)])
    values = unpack(packed.reshape(8, -1)).view(FLOAT8).float() * made.scale.reshape(-1, 1)
    assert (values - keep_two_of_four(weight).float()).norm() < 0.05 * weight.float().norm()


def test_the_kernel_is_handed_rows_with_scales_of_one_dimension(monkeypatch: pytest.MonkeyPatch):
    """As if on a GPU: fake tensors of a CUDA device have no memory, and torchao's op has a fake of its own."""
    given: list[tuple[Any, ...]] = []
    op = sparse_fp8_weight.rowwise_scaled_linear_sparse_cutlass_f8f8
    monkeypatch.setattr(
        sparse_fp8_weight, "rowwise_scaled_linear_sparse_cutlass_f8f8", lambda *args: given.append(args) or op(*args)
    )
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        data, places = torch.empty(192, 64, dtype=FLOAT8), torch.empty(192, 16, dtype=torch.uint8)
        weight = SparseFloat8Tensor(data, places, torch.empty(192), torch.bfloat16)
        bias = torch.empty(192, dtype=torch.bfloat16)
        out = torch.nn.functional.linear(torch.empty(1, 34, 128, dtype=torch.bfloat16), weight, bias)
        assert (out.shape, out.dtype, out.device.type) == ((1, 34, 192), torch.bfloat16, "cuda")
    ((rows, row_scale, *_, scale, handed_bias, dtype),) = given
    assert (rows.shape, rows.dtype) == ((34, 128), FLOAT8)
    assert (row_scale.shape, row_scale.dtype, scale.shape) == ((34,), torch.float32, (192,))
    assert handed_bias is bias
    assert dtype == torch.bfloat16


def test_negative_zero_of_what_stays_is_no_third_element():
    weight = torch.tensor([[-0.0, 1.0, 0, 0, 0, 0, 2.0, -0.0]]).to(FLOAT8)
    assert unpack(pack(weight.view(torch.int8))).view(FLOAT8).float().tolist() == weight.float().tolist()

"""2:4 sparse weights on a CPU: what is pruned, what is packed, and that the product is the dense one of the pruned weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.core.scheme_bytes import DENSE_TWIN, weight_bytes
from profiler.kernels.sparse_matmul import compress, sparse_matmul
from profiler.kernels.two_of_four import keep_two_of_four, pack, parts, unpack
from profiler.recording.weights import flatten
from profiler.schemes.apply import quantize
from profiler.schemes.base import SCHEMES, LinearPlan

MATRICES = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**31)).map(
    lambda each: torch.randint(-127, 128, (each[0], 8 * each[1]), generator=torch.Generator().manual_seed(each[2])).to(torch.int8)
)


def test_the_two_larger_of_four_stay():
    weight = torch.tensor([[9.0, -1, 7, 4, 1, -2, 3, 0], [-5.0, 5, 5, -5, 0, 0, 0, 0]])
    pruned = keep_two_of_four(weight)
    assert pruned[0].tolist() == [9, 0, 7, 0, 0, -2, 3, 0]
    # Of equal ones exactly two stay.
    assert pruned[1, :4].count_nonzero() == 2
    assert pruned[1, 4:].count_nonzero() == 0


@given(weight=MATRICES)
@settings(max_examples=40, deadline=None)
def test_pruning_keeps_the_largest_and_no_more_than_two(weight: torch.Tensor):
    pruned = keep_two_of_four(weight.float())
    before, after = weight.float().reshape(-1, 4), pruned.reshape(-1, 4)
    kept = after != 0
    assert kept.sum(-1).max() <= 2
    assert torch.equal(after[kept], before[kept])
    assert torch.equal(after.abs().sum(-1), before.abs().sort(-1).values[:, 2:].sum(-1))


def test_infinity_is_kept_and_leaves_no_nan():
    assert keep_two_of_four(torch.tensor([[float("inf"), 1, -float("inf"), float("inf")]])).isnan().sum() == 0


@given(weight=MATRICES)
@settings(max_examples=40, deadline=None)
def test_a_packed_weight_is_five_eighths_and_comes_back(weight: torch.Tensor):
    pruned = keep_two_of_four(weight.to(torch.int16)).to(torch.int8)
    packed = pack(pruned)
    assert packed.numel() == weight.numel() * 5 // 8
    assert torch.equal(unpack(packed), pruned)


def test_a_dense_weight_is_not_packed():
    with pytest.raises(ValueError, match="not 2:4 sparse"):
        pack(torch.ones(2, 8, dtype=torch.int8))


def test_the_product_is_that_of_the_pruned_weight_to_the_bit():
    generator = torch.Generator().manual_seed(1)
    weight = keep_two_of_four(torch.randint(-127, 128, (48, 96), generator=generator)).to(torch.int8)
    rows = torch.randint(-127, 128, (19, 96), generator=generator).to(torch.int8)
    scale = torch.rand(48, generator=generator) / 1000
    expected = ((rows.long() @ weight.long().t()).float() * scale).to(torch.bfloat16)
    assert torch.equal(sparse_matmul(rows, compress(weight), scale), expected)
    assert torch.equal(sparse_matmul(rows, compress(weight), scale, algorithm=3), expected)


def test_the_op_has_a_fake_of_the_same_shape():
    rows, packed = torch.zeros(19, 96, dtype=torch.int8), pack(torch.zeros(48, 96, dtype=torch.int8))
    torch.library.opcheck(torch.ops.diffuscope.sparse_matmul.default, (rows, packed, torch.ones(48), 0))


def converted(bias: bool = True) -> tuple[Any, torch.Tensor]:
    """A Linear under `sparsify`, and its pruned weight before it was quantized."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(256, 96, bias=bias, dtype=torch.bfloat16))
    pruned = keep_two_of_four(model[0].weight.detach())
    quantize(model, [LinearPlan("m.0", 256, 96, 20, "sparsify")], prefix="m.", torchao_defaults=False)
    return model[0], pruned


@pytest.mark.parametrize("bias", [True, False])
def test_a_sparse_linear_is_near_the_pruned_one_and_as_near_as_dense_int8(bias: bool):
    linear, pruned = converted(bias)
    x = torch.randn(2, 10, 256, dtype=torch.bfloat16)
    dense = torch.nn.Linear(256, 96, bias=bias, dtype=torch.bfloat16)
    dense.weight.data.copy_(pruned)
    if bias:
        dense.bias.data.copy_(linear.bias)
    exact = torch.nn.functional.linear(x.double(), pruned.double(), linear.bias.detach().double() if bias else None)
    model = torch.nn.Sequential(dense)
    quantize(model, [LinearPlan("m.0", 256, 96, 20, DENSE_TWIN["sparsify"])], prefix="m.", torchao_defaults=False)
    with torch.no_grad():
        outs = [found(x).double() for found in (linear, dense)]
    ratios = [float(20 * torch.log10(exact.norm() / (exact - out).norm())) for out in outs]
    assert linear(x).shape == (2, 10, 96)
    assert linear(x).dtype == torch.bfloat16
    assert ratios[0] > 35
    assert abs(ratios[0] - ratios[1]) < 1


def test_what_is_stored_is_half_the_data_the_places_and_a_scale_a_row():
    linear, pruned = converted()
    sizes = {role: tensor.numel() * tensor.element_size() for role, tensor in flatten(linear.weight)}
    assert sizes == {"quantized data": 256 * 96 // 2, "sparsity metadata": 256 * 96 // 8, "scale": 4 * 96}
    by_arithmetic = weight_bytes("sparsify", 96, 256)
    assert by_arithmetic is not None
    assert by_arithmetic.total == sum(sizes.values())
    data, places = parts(linear.weight.packed, 256)
    assert data.untyped_storage().data_ptr() == places.untyped_storage().data_ptr() == linear.weight.packed.data_ptr()
    assert linear.weight.shape == pruned.shape
    assert linear.weight.dtype == torch.bfloat16


def test_it_moves_like_a_weight():
    linear, _ = converted()
    linear.to("meta")
    assert linear.weight.packed.is_meta
    assert linear.weight.scale.is_meta
    assert linear.weight.is_meta


def test_this_build_of_torch_says_what_it_lacks():
    if torch.cuda.is_available():
        pytest.skip("a CUDA build has it")
    assert SCHEMES.get("sparsify").missing() == "this torch was built without cuSPARSELt"

"""The weight-only linear for few rows: its reference against float64, and the op's registration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.kernels.small_m_linear import MAX_ROWS, reference, small_m_linear, supported


def arguments(
    m: int, k: int, n: int, dtype: torch.dtype, *, bias: bool, one_scale: bool = False, seed: int = 0
) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, k, generator=generator).to(torch.bfloat16)
    if dtype == torch.int8:
        qdata = torch.randint(-128, 128, (n, k), generator=generator).to(torch.int8)
    else:
        qdata = torch.randn(n, k, generator=generator).to(dtype)
    scale = torch.rand((1, 1) if one_scale else (n, 1), generator=generator) * 0.01 + 1e-4
    return x, qdata, scale, torch.randn(n, generator=generator).to(torch.bfloat16) if bias else None


def true_product(x: torch.Tensor, qdata: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    out = x.double() @ (qdata.double() * scale.double()).t()
    return out if bias is None else out + bias.double()


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, MAX_ROWS),
    k=st.integers(1, 130),
    n=st.integers(1, 40),
    dtype=st.sampled_from([torch.int8, torch.float8_e4m3fn]),
    bias=st.booleans(),
    one_scale=st.booleans(),
    seed=st.integers(0, 99),
)
def test_it_is_the_scaled_product(m: int, k: int, n: int, dtype: torch.dtype, bias: bool, one_scale: bool, seed: int):
    given_ = arguments(m, k, n, dtype, bias=bias, one_scale=one_scale, seed=seed)
    out, true = small_m_linear(*given_), true_product(*given_)
    assert out.dtype == torch.bfloat16
    assert out.shape == (m, n)
    # bf16 rounds the result once; the float32 sum adds far less, in proportion to the terms' sizes.
    terms = given_[0].double().abs() @ (given_[1].double().abs() * given_[2].double()).t()
    assert ((out.double() - true).abs() <= true.abs() * 2**-8 + terms * 2**-20 + 1e-30).all()


def test_each_row_has_its_own_scale():
    x, qdata, scale, _ = arguments(2, 16, 4, torch.int8, bias=False)
    plain = reference(x.float(), qdata, torch.ones_like(scale), None)
    assert torch.allclose(reference(x.float(), qdata, scale, None), plain * scale.flatten(), rtol=1e-6)
    assert not torch.allclose(reference(x.float(), qdata, scale.flip(0), None), plain * scale.flatten(), rtol=1e-2)


@pytest.mark.parametrize("bias", [False, True])
def test_the_op_is_registered_soundly(bias: bool):
    torch.library.opcheck(torch.ops.diffuscope.small_m_linear.default, arguments(1, 32, 16, torch.int8, bias=bias))


def test_its_shape_is_known_without_data():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        out = small_m_linear(*(mode.from_tensor(each) for each in arguments(3, 32, 16, torch.int8, bias=True)))
    assert (out.shape, out.dtype) == ((3, 16), torch.bfloat16)


def test_the_kernel_is_for_cuda():
    assert not supported(torch.zeros(4, 4, dtype=torch.int8))
    assert MAX_ROWS == 8

"""One Linear under each scheme, by hand: 1 TFLOP/s is 10^6 FLOP a us, 1000 GB/s 10^6 bytes a us."""

from __future__ import annotations

import pytest

from profiler.core.product import Shape
from profiler.core.scheme_noise import SQNR_DB
from profiler.metrics.plan_products import SPARSE_GAIN, Rates, left_price, linear_price
from profiler.rundir.tuned_table import Entry

CEILINGS = {"bf16_tflops": 500.0, "fp8_tflops": 1000.0, "int8_tops": 800.0, "copy_gbs": 1000.0}
RATES = Rates(ceilings=CEILINGS)
KEY = (4096, 4096, 4096)
FLOPS, ELEMENTS = 2 * 4096**3 / 1e6, 4096**2 / 1e6
BASE = 2 * FLOPS / 500


def price(scheme: str, rates: Rates = RATES, base: float = BASE, key: tuple[int, int, int] = KEY):
    return linear_price(key, scheme, base, rates)


def test_bf16_is_the_runs_own():
    found = left_price(KEY, BASE)
    assert (found.us, found.moving.us, found.on_cores) == (BASE, 0.0, True)
    assert found.product.low < BASE < found.product.high


def test_a_weight_only_product_is_bf16s_after_unpacking():
    found = price("fp6_e3m2")
    assert found.product.us == BASE
    assert found.moving.us == pytest.approx(2.75 * ELEMENTS, rel=1e-3)
    assert found.kernels == 1


def test_fp8_is_as_far_from_its_ceiling_as_bf16_is():
    found = price("fp8dqrow")
    assert found.product.us == pytest.approx(2 * FLOPS / 1000)
    # The input is read once more, and written in 8 bits.
    assert found.moving.us == pytest.approx(3 * ELEMENTS)
    # A bf16 product above its ceiling lets no other be.
    assert (found.kernels, price("fp8dq").kernels) == (1, 2), "a scale for all rows takes another kernel"
    assert price("fp8dqrow", base=0.5 * BASE * 0.9).product.us == pytest.approx(FLOPS / 1000)


def test_int8_is_that_of_the_table_or_torchs_own():
    tuned = Rates(ceilings=CEILINGS, tuned={Shape(*KEY): Entry(kernel="k", us=150.0)})
    assert (price("int8dq", tuned).product.us, price("int8dq", tuned).burst) == (150.0, True)
    untuned = price("int8dq")
    # int32 sums are written, then read and written in bf16.
    assert untuned.product.us == pytest.approx(2 * FLOPS / 800 + 4 * ELEMENTS)
    assert untuned.moving.us == pytest.approx((3 + 6) * ELEMENTS)
    # A shape that no table holds runs the kernel of one that is near: no slower than the device's 8-bit ceiling, no faster.
    near = price("int8dq", tuned, key=(4096, 4096, 2048), base=BASE / 2)
    assert near.product.us == pytest.approx(FLOPS / 1000)
    assert near.product.low == near.product.us


def test_an_int8_ceiling_of_a_tuned_kernel_is_not_that_of_torchs_own():
    ceilings = CEILINGS | {"int8_tops": 1000.0}
    of_torch = Rates(ceilings=ceilings, ceiling_kernels={"int8_tops": "aten::_int_mm at 8192x8192x8192"})
    of_tuned = Rates(ceilings=ceilings, ceiling_kernels={"int8_tops": "warpgroup:block_m=128 at 8192x8192x8192"})
    assert price("int8dq", of_torch).product.us == pytest.approx(2 * FLOPS / 1000 + 4 * ELEMENTS)
    assert price("int8dq", of_tuned).product.us == pytest.approx(2 * FLOPS / 620 + 4 * ELEMENTS)


@pytest.mark.parametrize("scheme", SPARSE_GAIN)
def test_a_sparse_product_lies_within_what_was_measured_of_it(scheme: str):
    found = price(scheme)
    dense = 2 * FLOPS / 1000
    gain, (low, high) = SPARSE_GAIN[scheme]
    assert found.product.us == pytest.approx(dense / gain)
    assert (found.product.low, found.product.high) == pytest.approx((dense / high, dense / low))


def test_a_cusparselt_product_costs_the_host_more_where_its_plan_is_not_kept():
    anew = price("sparsify", Rates(ceilings=CEILINGS, kept_plans=False))
    assert 5 * price("sparsify").host.us < anew.host.us == 660.0
    assert (price("fp8-sparse").host.us, price("int8dq").host.us) == (0.0, 0.0)


def test_few_rows_read_their_weight_once():
    key, base = (1, 4096, 4096), 2 * ELEMENTS
    found = price("int8wo", key=key, base=base)
    assert found.product.us == pytest.approx(ELEMENTS, rel=0.01)
    assert (found.on_cores, found.kernels, found.moving.us) == (False, 0, 0.0)
    assert not left_price(key, base).on_cores


def test_int4dq_rounds_its_input_and_unpacks_its_weight():
    found = price("int4dq")
    assert found.moving.us == pytest.approx((4 + 2.5625) * ELEMENTS, rel=1e-3)
    assert found.kernels == 2


def test_eager_quantizing_takes_a_kernel_an_operator():
    eager = Rates(ceilings=CEILINGS, fused=False)
    assert price("fp8dqrow", eager).moving.us == pytest.approx(33 * ELEMENTS)
    assert price("int8wo", eager).moving.us == pytest.approx(6 * price("int8wo").moving.us)
    assert price("fp6_e3m2", eager).moving.us == price("fp6_e3m2").moving.us, "packed weights have a kernel of their own"


def test_each_scheme_with_a_known_noise_has_a_price_within_its_range():
    for scheme in SQNR_DB:
        found = price(scheme)
        assert found.us > 0
        assert found.product.low <= found.product.us <= found.product.high
        assert found.moving.low <= found.moving.us <= found.moving.high

"""The kept runs of 2:4 sparse and of packed weights: sums of classes to the nanosecond, floors, and what is found first."""

from __future__ import annotations

import polars as pl
import pytest
from kept_runs import kept_run

from profiler.metrics.floor import floor
from profiler.metrics.ledger import ledger
from profiler.report import floor as floor_text
from profiler.report.diagnose import diagnose

_SPARSE, _PACKED = "flux-dev-sparsify-regional", "flux-dev-fp6-regional"
# FLOPs of a step by the model's layers: rows, inputs, outputs, how often.
_LINEAR = [
    (4608, 15360, 3072, 38),
    (4608, 3072, 12288, 38),
    (4608, 3072, 3072, 114),
    (4096, 3072, 3072, 76),
    (4096, 3072, 12288, 19),
    (4096, 12288, 3072, 19),
    (512, 3072, 3072, 76),
    (512, 3072, 12288, 19),
    (512, 12288, 3072, 19),
]
_FLOPS = sum(2 * rows * inputs * outputs * count for rows, inputs, outputs, count in _LINEAR)


def _busy(name):
    """Traced ns of two steps by class."""
    rows = ledger(kept_run(name)).rows.filter(pl.col("kind") == "busy")
    return dict(rows.group_by("label").agg(pl.col("total_ns").sum()).iter_rows())


def _floor(name):
    found = floor(kept_run(name), ledger(kept_run(name)))
    return found, {row["class"]: row for row in found.classes.iter_rows(named=True)}


def test_sparse_products_are_int8_and_a_class_of_their_own():
    assert _busy(_SPARSE) == {
        "GEMM int8 2:4": 62_824_423,
        "attention": 46_168_426,
        "fused reduction": 30_668_165,
        "fused pointwise": 26_719_579,
        "GEMM weight-only": 3_962_550,
        "quantize/dequantize": 2_213_460,
        "memset": 614_834,
        "pointwise": 504_174,
        "copy": 211_071,
        "GEMM bf16": 80_450,
        "norm": 45_824,
    }


def test_unpacking_is_a_class_beside_the_bf16_products():
    assert _busy(_PACKED) == {
        "GEMM bf16": 157_840_081,
        "attention": 49_084_108,
        "fused pointwise": 18_992_792,
        "quantize/dequantize": 17_588_197,
        "fused reduction": 16_437_239,
        "GEMM weight-only": 4_414_428,
        "memset": 734_880,
        "pointwise": 359_879,
        "copy": 121_986,
        "norm": 49_697,
    }


def test_sparse_products_are_held_against_twice_the_dense_rate():
    found, rows = _floor(_SPARSE)
    products = rows["GEMM int8 2:4"]
    assert (products["count"], products["priced"], products["clamped"], products["bound"]) == (418, 418, 0, "FLOP")
    assert products["flops"] == _FLOPS
    # A product of 512 rows is bound by reading its weight: a little more than FLOPs alone need.
    by_flops = _FLOPS / (2 * 1605.2618706923765) / 1e3
    assert products["floor_ns"] == pytest.approx(18_579_308, abs=1)
    assert by_flops < products["floor_ns"] < 1.01 * by_flops
    assert (found.raised, set(found.unpriced["name"])) == ((), {"aten::arange"})
    assert found.floor_ns == pytest.approx(61_469_691, abs=1)
    text = floor_text.render(found, "step", 95_024_265, 100)
    assert text.startswith("a step stands at 1.55 x its floor of 61.5 ms")
    assert "\n2:4 products are held against twice the dense rate of their dtype, zeros counted\n" in text


def test_unpacking_is_priced_by_the_bytes_that_it_moves():
    found, rows = _floor(_PACKED)
    assert rows["quantize/dequantize"]["count"] == 421
    assert rows["quantize/dequantize"]["floor_ns"] == pytest.approx(8_011_035, abs=1)
    assert found.floor_ns == pytest.approx(115_423_929, abs=1)
    assert found.unpriced_ns == 23_409


def test_what_packed_weights_cost_and_save_is_found_first():
    first = diagnose(kept_run(_PACKED)).findings[0]
    assert first.finding.title == "unpacking weights takes 8.8 ms a step, the price of 13.85 GiB saved"
    assert first.cost_ns == pytest.approx(8_813_879, abs=1)
    assert first.finding.evidence[1:] == (
        "the quantized weights take 8.32 GiB, in bf16 22.16",
        "421 x dequantize_packed_kernel: 8.81 ms a step",
    )
    assert first.finding.change.endswith("with a byte a weight, 2.76 GiB more")


def test_the_timed_calls_bound_what_a_sparse_step_waits_for_launches():
    run = kept_run(_SPARSE)
    report, pricing = diagnose(run), ledger(run).pricing
    assert report.findings[0].finding.title == "compiled code is launched more slowly than the GPU runs it"
    # By the short calls it would be 36 ms a step, and 28 such steps longer than a timed call is.
    assert report.findings[0].cost_ns == pytest.approx(6_776_920, abs=1)
    assert pricing.note.startswith("calls of 2 steps took 426.9 ms, which is slower a step than those of 28: priced by these, ")
    # The timed calls were at the power limit, the traced one waited: some of it may be lower clocks.
    assert report.findings[0].saving_low_ns == pytest.approx(406_000, rel=0.01)
    parts = [sum(ledger(run, name).rows["priced_ns"]) for name in ("text", "decode")]
    assert sum(parts) + 28 * report.untraced_ns == pytest.approx(2_787_853_699, rel=0.01)

"""The kept runs of CogVideoX-5b, tuned int8, and of a plan: sums of classes to the nanosecond, floors, what is found first."""

from __future__ import annotations

import json
from collections import Counter

import polars as pl
import pytest
from kept_runs import TRACES, kept_run

from profiler.metrics.floor import floor
from profiler.metrics.ledger import ledger
from profiler.metrics.memory.summary import summarize
from profiler.report.diagnose import diagnose

_VIDEO, _PLAN = "cogvideox-5b-int8dq-regional", "flux-dev-plan-regional"
_SMALL = "flux-dev-plan18-regional"
_GIB = 1 << 30
# Of a step: rows are two prompts of 226 tokens and 13 frames of 30 x 45 patches; fused q, k, v, the output, two of feed-forward.
_ROWS, _OUTPUTS, _BLOCKS = 2 * (226 + 13 * 30 * 45), 9216 + 3072 + 12288 + 12288, 42


def _busy(name: str, window: str = "step") -> dict[str, int]:
    """Traced ns of a call's windows by class."""
    rows = ledger(kept_run(name), window).rows.filter(pl.col("kind") == "busy")
    return dict(rows.group_by("label").agg(pl.col("total_ns").sum()).iter_rows())


def test_a_videos_memory():
    manifest = kept_run(_VIDEO).manifest
    found = summarize(manifest)
    sizes = (found.model_bytes, found.inference_peak_bytes, found.since_start_peak_bytes)
    assert [each / _GIB for each in sizes] == pytest.approx([11.282, 26.100, 26.101], abs=5e-4)
    assert sum(manifest.applied["weight_bytes"].values()) / _GIB == pytest.approx(11.278, abs=5e-4)


def test_a_videos_step_is_attention_and_tuned_int8_products():
    assert _busy(_VIDEO) == {
        "attention": 1_592_889_034,
        "GEMM int8": 443_595_226,
        "fused reduction": 261_488_261,
        "fused pointwise": 51_682_637,
        "quantize/dequantize": 32_890_846,
        "copy": 2_535_198,
        "pointwise": 2_122_515,
        "GEMM weight-only": 2_029_459,
        "norm": 746_760,
        "convolution": 258_659,
        "GEMM bf16": 216_098,
        "memset": 173_796,
    }
    windows = ledger(kept_run(_VIDEO)).windows
    assert (windows["end_ns"] - windows["start_ns"]).to_list() == [1_199_173_379, 1_201_461_679]
    # What calls of 4 and of 2 steps differ by, which the sweep extrapolated with, is the same step.
    timed, short = sorted(kept_run(_VIDEO).manifest.timed["iterations_ns"]), kept_run(_VIDEO).manifest.untraced["dur_ns"]
    assert (sum(timed) / 2 - short) / 2 == pytest.approx(1_194_172_169, abs=1)
    assert diagnose(kept_run(_VIDEO)).untraced_ns == pytest.approx(1_194_172_169, rel=0.005)


def test_a_videos_products_stand_near_their_floor_and_attention_does_not():
    found = floor(kept_run(_VIDEO), ledger(kept_run(_VIDEO)))
    rows = {row["class"]: row for row in found.classes.iter_rows(named=True)}
    products = rows["GEMM int8"]
    assert (products["count"], products["bound"]) == (168, "FLOP")
    assert products["flops"] == 2 * _ROWS * 3072 * _OUTPUTS * _BLOCKS
    assert products["measured_ns"] / products["floor_ns"] == pytest.approx(1.099, abs=1e-3)
    assert rows["attention"]["measured_ns"] / rows["attention"]["floor_ns"] == pytest.approx(1.947, abs=1e-3)


def test_what_eager_group_norms_cost_a_videos_decode_is_found_first():
    first, second = diagnose(kept_run(_VIDEO)).findings[:2]
    assert first.finding.title == "GroupNorm's moments take 803.2 ms a decode: one block a group, most of the GPU idle"
    assert first.cost_ns == pytest.approx(803_153_908, abs=1)
    assert first.finding.change.startswith("--compile-vae")
    assert second.finding.title == "convolutions convert their layout: 165.2 ms a decode"
    (decode,) = ledger(kept_run(_VIDEO), "decode").windows.select(pl.col("end_ns") - pl.col("start_ns")).to_series()
    assert decode == 2_295_487_307
    assert 0.34 < first.cost_ns / decode < 0.36


def test_a_plans_step_runs_the_scheme_of_each_linear():
    applied = kept_run(_PLAN).manifest.applied["linears"]
    schemes = [each["scheme"] for each in applied]
    counts = {name: schemes.count(name) for name in set(schemes)}
    assert counts == {"fp8dqrow": 380, "fp8wo": 82, "int8dq": 38, "int8wo": 1, "left": 3}
    rows = ledger(kept_run(_PLAN)).rows.filter(pl.col("label").str.starts_with("GEMM")).group_by("label")
    traced = {label: (total, count) for label, total, count in rows.agg(pl.col("total_ns", "count").sum()).iter_rows()}
    assert traced == {
        "GEMM fp8": (68_824_315, 2 * 380),
        "GEMM int8": (15_575_967, 2 * 38),
        "GEMM weight-only": (3_781_559, 2 * 83),
        "GEMM bf16": (89_539, 2 * 3),
    }
    assert sorted(kept_run(_PLAN).manifest.timed["iterations_ns"])[2] == 2_972_564_039


def test_a_plan_within_18_gib_leaves_the_large_products_on_8_bit_tensor_cores():
    run = kept_run(_SMALL)
    said = json.loads((TRACES / _SMALL / "plan.json").read_text())
    applied = run.manifest.applied["linears"]
    assert {each["module"]: each["scheme"] for each in applied} == said["layers"]
    few = Counter(each["scheme"] for each in applied if each["rows"] == 1)
    many = Counter(each["scheme"] for each in applied if each["rows"] >= 4096)
    assert few == {"fp4_e2m1": 71, "fp5_e2m2": 5, "int8wo": 6, "fp8wo": 1}
    assert many == {"fp8dqrow": 266, "int8dq": 38, "left": 2}
    # To the byte as tensors ask for them; what the allocator hands out is over the budget, by less than is now left for it.
    quantized = next(each for each in run.manifest.phases if each.name == "quantize")
    assert quantized.requested_bytes == said["predicted"]["model_bytes"] == 19_324_554_798
    assert quantized.alloc_bytes == 19_334_435_328
    assert quantized.alloc_bytes - quantized.requested_bytes < 18 * _GIB * 0.003
    assert sorted(run.manifest.timed["iterations_ns"])[1] == 3_094_719_417
    # The products of its step, of which single Linears were the sum.
    products = {label: ns for label, ns in _busy(_SMALL).items() if label.startswith(("GEMM", "quantize"))}
    assert sum(products.values()) / 2 / 1e3 == pytest.approx(47_097.064, abs=1e-3)
    assert said["predicted"]["us"] == pytest.approx(60_027.2, rel=1e-6)

"""The floor of the recorded Flux.1-dev runs at 1024 px, against FLOPs counted by hand from the model's layers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from kept_runs import kept_run

from profiler.metrics.floor import floor
from profiler.metrics.ledger import ledger

_TRACES = Path(__file__).resolve().parents[2] / "traces"
_RUNS = ("flux-dev-bf16", "flux-dev-fp8dqrow-regional", "flux-dev-int8dq-regional")

# Linear calls of a step: rows, inputs, outputs, how often. One row each: modulations and embeddings.
_LINEAR = [
    (4608, 15360, 3072, 38),
    (4608, 3072, 12288, 38),
    (4608, 3072, 3072, 114),
    (4096, 3072, 3072, 76),
    (4096, 3072, 12288, 19),
    (4096, 12288, 3072, 19),
    (4096, 64, 3072, 1),
    (4096, 3072, 64, 1),
    (512, 3072, 3072, 76),
    (512, 3072, 12288, 19),
    (512, 12288, 3072, 19),
    (512, 4096, 3072, 1),
    (1, 3072, 18432, 38),
    (1, 3072, 9216, 38),
    (1, 3072, 6144, 1),
    (1, 3072, 3072, 3),
    (1, 256, 3072, 2),
    (1, 768, 3072, 1),
]
_LINEAR_FLOPS = sum(2 * m * k * n * count for m, k, n, count in _LINEAR)
_ATTENTION_FLOPS = 57 * 4 * 24 * 4608**2 * 128


@pytest.fixture(scope="module", params=_RUNS)
def floored(request):
    """Name, manifest's ceilings, ledger and floor of a step; the cache lies elsewhere."""
    run = kept_run(request.param)
    found = ledger(run)
    return request.param, run.manifest.environment["ceilings"], found, floor(run, found)


def _sum(of, column, prefix):
    return of.classes.filter(pl.col("class").str.starts_with(prefix))[column].sum()


def test_the_flops_are_those_of_the_model_whatever_the_scheme(floored):
    _, _, _, of_step = floored
    assert sum(count for *_, count in _LINEAR) == 504
    assert pytest.approx(59.5e12, rel=0.01) == _LINEAR_FLOPS
    assert _sum(of_step, "flops", "GEMM") == pytest.approx(_LINEAR_FLOPS, rel=1e-6)
    assert _sum(of_step, "flops", "attention") == pytest.approx(_ATTENTION_FLOPS, rel=1e-9)
    assert pytest.approx(0.261e12, rel=0.01) == _ATTENTION_FLOPS / 57


def test_measured_time_is_the_ledgers_busy_time_class_by_class(floored):
    _, _, found, of_step = floored
    busy = found.rows.filter(pl.col("kind") == "busy").group_by("label").agg(pl.col("total_ns").sum() / found.windows.height)
    assert dict(of_step.classes.select("class", "measured_ns").iter_rows()) == dict(busy.iter_rows())


def test_no_floor_is_above_the_measured_time_and_nearly_everything_is_priced(floored):
    _, _, _, of_step = floored
    assert (of_step.classes["floor_ns"] <= of_step.classes["measured_ns"]).all()
    assert set(of_step.unpriced["name"]) == {"aten::arange"}
    assert of_step.unpriced_ns < 6_000


def test_attention_is_bound_by_the_16_bit_rate(floored):
    _, ceilings, _, of_step = floored
    least = _ATTENTION_FLOPS / ceilings["bf16_tflops"] / 1e3
    assert _sum(of_step, "floor_ns", "attention") == pytest.approx(least, rel=1e-9)
    assert of_step.classes.filter(pl.col("class") == "attention").select("count", "clamped", "bound").row(0) == (57, 0, "FLOP")


@pytest.mark.parametrize("floored", ["flux-dev-bf16"], indirect=True)
def test_bf16_products_stand_at_their_floor(floored):
    _, ceilings, found, of_step = floored
    assert pytest.approx(78.5e6, rel=0.002) == _LINEAR_FLOPS / ceilings["bf16_tflops"] / 1e3
    # A little less than that: some shapes beat the rate of the square product, and count as measured.
    assert _sum(of_step, "floor_ns", "GEMM") == pytest.approx(77.305e6, rel=1e-4)
    assert _sum(of_step, "measured_ns", "GEMM") == pytest.approx(78.583e6, rel=1e-4)
    assert of_step.floor_ns == pytest.approx(145.035e6, rel=1e-4)
    assert found.rows["priced_ns"].sum() / 2 / of_step.floor_ns == pytest.approx(1.247, abs=1e-3)


@pytest.mark.parametrize(
    ("floored", "label", "products_ms", "step_ms"),
    [
        ("flux-dev-fp8dqrow-regional", "GEMM fp8", 42.711, 76.716),
        ("flux-dev-int8dq-regional", "GEMM int8", 63.213, 115.642),
        ("flux-dev-int8dq-tuned", "GEMM int8", 36.733, 70.953),
    ],
    indirect=["floored"],
)
def test_compiled_runs(floored, label, products_ms, step_ms):
    _, _, _, of_step = floored
    rows = {row["class"]: row for row in of_step.classes.iter_rows(named=True)}
    assert (rows[label]["count"], rows["GEMM weight-only"]["count"], rows["GEMM bf16"]["count"]) == (418, 83, 3)
    assert rows[label]["floor_ns"] / 1e6 == pytest.approx(products_ms, abs=1e-3)
    assert (rows[label]["bound"], rows["GEMM weight-only"]["bound"]) == ("FLOP", "bytes")
    assert of_step.floor_ns / 1e6 == pytest.approx(step_ms, abs=1e-3)


@pytest.mark.parametrize("floored", ["flux-dev-int8dq-tuned"], indirect=True)
def test_tuned_kernels_raise_the_ceiling_that_cublaslt_set(floored):
    _, ceilings, _, of_step = floored
    (raised,) = of_step.raised
    assert (raised.name, raised.kernel, raised.recorded) == ("int8_tops", "warpgroup_kernel", ceilings["int8_tops"])
    assert raised.reached == pytest.approx(1618.1, abs=0.1)


@pytest.mark.parametrize("floored", _RUNS, indirect=True)
def test_the_library_that_set_a_ceiling_raises_none(floored):
    assert floored[3].raised == ()

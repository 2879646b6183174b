"""The roofline of the kept runs: work by arithmetic, rates below their roofs, nothing lost."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from ledger_traces import kernel, launch, mark, op, run_of
from processes import ROOT

from profiler.metrics.classes import GEMM
from profiler.metrics.ledger import Ledger, ledger
from profiler.metrics.roofline import rates, roof_tflops, roofline
from profiler.tables.run import Run

GOLDEN = ROOT / "traces"


@pytest.fixture(scope="module")
def run() -> Run:
    path = GOLDEN / "flux-dev-int8dq-regional"
    if not (path / "run.json").is_file():
        pytest.skip("the kept runs are not in traces/")
    return Run.open(path)


@pytest.fixture(scope="module")
def step(run: Run) -> Ledger:
    return ledger(run)


def test_a_product_is_where_arithmetic_puts_it(run: Run, step: Ledger):
    found = rates(roofline(run, step).calls)
    row = found.filter((pl.col("class") == "GEMM int8") & (pl.col("shape") == "4608×3072 · 3072×12288")).row(0, named=True)
    assert row["count"] == 38.0
    assert row["flops"] == pytest.approx(38 * 2 * 4608 * 3072 * 12288)
    assert row["ceiling"] == "int8_tops"
    assert row["tflops"] == pytest.approx(row["flops"] / row["measured_ns"] / 1e3)


def test_all_kernels_that_multiply_are_in_it(run: Run, step: Ledger):
    found = roofline(run, step)
    gemms = step.rows.filter(pl.col("label").str.starts_with(GEMM) | (pl.col("label") == "attention"))
    whole = gemms["total_ns"].sum() / step.windows.height
    assert found.calls["measured_ns"].sum() + found.unplaced_ns == pytest.approx(whole)
    assert found.unplaced_ns == 0.0


def test_without_ceilings_there_is_none(run: Run, step: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(run.manifest.environment, "ceilings", {})
    found = roofline(run, step)
    assert (found.why, found.calls.height) == ("the run has no measured ceilings", 0)


def test_tuned_kernels_lie_under_the_roof_that_they_raise():
    path = GOLDEN / "flux-dev-int8dq-tuned"
    if not (path / "run.json").is_file():
        pytest.skip("the kept runs are not in traces/")
    tuned = Run.open(path)
    found = roofline(tuned, ledger(tuned))
    assert [(each.name, round(each.recorded), round(each.reached)) for each in found.raised] == [("int8_tops", 936, 1618)]
    assert found.ceilings["int8_tops"] == found.raised[0].reached
    int8 = rates(found.calls).filter(pl.col("ceiling") == "int8_tops")
    assert 0.99 < int8["tflops"].max() / found.ceilings["int8_tops"] < 1.01  # type: ignore[operator]


def test_what_nobody_measures_a_ceiling_of_has_none(tmp_path: Path):
    shapes = {"Input Dims": [[100, 100], [100, 500]], "Input type": ["float"] * 2}
    events = [mark("diffuscope/step/0", 0, 50), op("aten::mm", 0, 2, **{"External id": 1}, **shapes), launch(0, 1, 1)]
    gemm = kernel(10, 20, 1, "sm80_xmma_gemm_f32f32_tf32f32_f32_nn")
    gemm["args"] |= {"External id": 1}
    made = run_of(tmp_path / "run", [*events, gemm], environment={"ceilings": {"fp32_tflops": 1.0, "copy_gbs": 1.0}})
    assert roofline(made, ledger(made, "step")).calls.select("ceiling", "flops").rows() == [(None, 1e7)]


def test_a_roof_is_the_lower_of_both():
    ceilings = {"copy_gbs": 2000.0}
    assert roof_tflops(10.0, 900.0, ceilings) == 20.0
    assert roof_tflops(1000.0, 900.0, ceilings) == 900.0

"""The Tune page and its figures: numbers are those of `show --json`, names are text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_tunes import NAME, SHAPES, write_tune
from test_pages import answer_of, show, text_of

from dashboards import folder
from dashboards.charts import style
from dashboards.charts import tune as charts
from dashboards.pages import tune as page
from dashboards.pages import tune_shape
from profiler.metrics.tune import TuneResult, tune_result
from profiler.report.tune import tune_data
from profiler.tables.run import Run


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    return write_tune(tmp_path)


@pytest.fixture
def result(tuned: Path) -> TuneResult:
    return tune_result(Run.open(tuned))


def test_a_step_is_a_bar_a_way_shortest_on_top(result: TuneResult):
    (bars,) = charts.step(result.step_ms).data
    # Tuned: 50 us twice, 100 us ten times, and of the last shape the 200 us that it takes untuned.
    assert dict(zip(bars.y, bars.x, strict=True)) == pytest.approx(
        {"untuned": 2.6, "int_mm, not scaled": 1.95, "bf16": 1.56, "tuned": 1.3, "fp8 row-wise": 0.78}
    )
    assert list(bars.y)[-1] == "fp8 row-wise"
    assert bars.text[-2].strip() == "1.30 ms · 1.00 ×"
    assert style.empty(charts.step({}))


def test_rates_have_marks_and_the_limit(result: TuneResult):
    figure = charts.rates(result)
    bars, *marks = figure.data
    # Dearest last: that is on top.
    assert [name.split()[0] for name in bars.y] == ["512x1024x2048", "64x128x256", "4096x1024x1024"]
    assert bars.y[-1] == "4096x1024x1024  (10 a step)"
    assert bars.x[-1] == pytest.approx(2 * 4096 * 1024 * 1024 / 100e-6 / 1e12)
    assert {mark.name for mark in marks} == {"untuned", "bf16", "fp8 row-wise", "int_mm, not scaled"}
    (bf16,) = (mark for mark in marks if mark.name == "bf16")
    assert bf16.x[-1] == pytest.approx(bars.x[-1] * 100 / 120)
    assert figure.layout.shapes[0].x0 == 200.0
    assert "TOPS" in figure.layout.xaxis.title.text


def test_every_way_to_multiply_a_shape(result: TuneResult):
    (bars,) = charts.ways(result, 0).data
    assert list(bars.y)[-1] == "hopper" and bars.x[-1] == 50.0
    assert len(bars.y) == 6


def test_the_answer_is_that_of_json(tuned: Path):
    test = show("tune", run=NAME)
    assert not test.exception
    step_ms = tune_data(Run.open(tuned))["step_ms"]
    assert f"take {step_ms['tuned']:,.2f} ms" in answer_of(test)
    assert f"{step_ms['int_mm x scale'] / step_ms['tuned']:.2f} times as fast as torchao's eager product" in answer_of(test)
    shown = text_of(test)
    assert "untuned is torchao's eager product" in shown
    assert "1 wrong and rejected, 1 failed" in shown
    assert "1x2x3 was not tuned: 16 rows or fewer" in shown
    assert "kept in /kernels.json" in shown and "a note" in shown
    assert "flux-dev · batch 1 · 1024 x 1024 · A GPU" in shown


def test_the_table_is_dearest_first(result: TuneResult):
    frame = page.table(result)
    assert frame["product"].to_list() == ["4096x1024x1024", "64x128x256", "512x1024x2048"]
    assert frame["gain"].to_list() == pytest.approx([2.0, 0.8, 4.0])
    assert frame["limit"][0] == pytest.approx(frame["tops"][0] / 2)


def test_a_shape_stands_in_the_address(tuned: Path):
    shown = text_of(show("tune", run=NAME, row="64x128x256"))
    assert "no kernel was faster than untuned" in shown
    assert "<b>torchao:x</b> failed: out of shared memory" in shown
    test = show("tune", run=NAME, row="64x128x256")
    test.selectbox(key="shape_menu").select("512x1024x2048").run()
    assert test.query_params["row"] in ("512x1024x2048", ["512x1024x2048"])
    assert test.selectbox(key="shape_menu").value == "512x1024x2048"
    assert "50.0 us" in text_of(test)


def test_a_row_that_is_not_there_is_the_dearest(tuned: Path):
    assert show("tune", run=NAME, row="<script>").selectbox(key="shape_menu").value == "4096x1024x1024"


def test_a_tuning_that_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    write_tune(tmp_path, [], status="failed", failure={"type": "Died", "message": "the [tuning](x) process was killed"})
    test = show("tune")
    assert not test.exception
    assert answer_of(test) == "No shape was tuned."
    assert "process was killed" in text_of(test)


def test_a_tuning_that_runs_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    run = write_tune(tmp_path, SHAPES[:1], status="running", process={"pid": os.getpid()})
    test = show("tune")
    assert not test.exception and [each.value for each in test.info] == ["Still tuning: this page follows."]
    assert "1 of 3" in text_of(test) and not test.warning
    (run / "tune.json").unlink()
    test = show("tune")
    assert not test.exception
    assert "holds no tune.json" in text_of(test)


def test_results_that_cannot_be_read_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    run = write_tune(tmp_path)
    (run / "tune.json").write_text("[")
    test = show("tune")
    assert not test.exception
    assert "tune.json cannot be read" in text_of(test)


def test_without_a_limit_there_is_no_line(tmp_path: Path):
    run = write_tune(tmp_path, SHAPES[:1], environment={})
    figure = charts.rates(tune_result(Run.open(run)))
    assert not figure.layout.shapes


def test_other_pages_do_not_offer_a_tuning(tuned: Path):
    test = show("diagnosis")
    assert not test.exception
    assert "no run that can be read" in text_of(test)


def test_the_list_of_runs_leads_to_a_tuning(tuned: Path):
    test = show("runs")
    (link,) = (each.proto for each in test.get("page_link"))
    assert link.label == "Tune page of tune-small" and link.query_string == f"run={NAME}"


def test_a_page_without_tunings_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    assert "diffuscope tune flux-dev" in text_of(show("tune"))


def test_a_configuration_is_a_line_a_setting():
    assert tune_shape.config_text("hopper:a=1", {"block_m": 1, "x": 2}) == "hopper\n  block_m  1\n  x        2"
    assert tune_shape.config_text("cublaslt:scaled", {}) == "cublaslt:scaled"

"""The Sweep page and its figures: what it says is what `show --json` says, running or not, whatever a cell is called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_sweeps import BEATEN, BF16, CELLS, FAILED, FAST, NAME, SMALL, write_state, write_sweep
from test_pages import answer_of, show, text_of

from dashboards import folder, sweeps
from dashboards.charts import style
from dashboards.charts import sweep as charts
from dashboards.pages import sweep_progress, sweep_table
from dashboards.pages.sweep import answer
from profiler.core.errors import UnreadableInput
from profiler.metrics.sweep import SweepResult, sweep_result
from profiler.metrics.sweep_advice import FAITHFUL, FASTEST, Advice
from profiler.report.sweep import sweep_data


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    return write_sweep(tmp_path)


@pytest.fixture
def result(swept: Path) -> SweepResult:
    return sweep_result(swept)


def test_the_answer_is_that_of_json(swept: Path):
    test = show("sweep", run=NAME)
    assert not test.exception, test.exception[0].message
    data = sweep_data(swept)
    fastest = next(each for each in data["recommended"] if each["what"] == "fastest")
    assert answer_of(test) == f"Ship {fastest['text']}"
    assert fastest["cell"] == FAST and "3.000 s" in fastest["text"]
    shown = text_of(test)
    assert "flux-dev, batch 1, 28 steps, 1024x1024, NVIDIA H100 80GB HBM3" in shown
    assert all(each["text"] in shown for each in data["recommended"])
    assert all(each in shown for each in data["not_known"])
    table, unfinished = (each.value for each in test.dataframe)
    assert list(table["id"]) == [FAST, SMALL, BEATEN, BF16]
    assert list(table["time_s"]) == [3.0, 4.0, 4.5, 5.0]
    assert set(unfinished["id"]) == set(FAILED)
    assert "did not finish in 900 s" in set(unfinished["reason"])


def test_the_scatter_has_the_front(result: SweepResult):
    (group,) = result.groups
    figure = charts.scatter(result.cells, group)
    line, *points = figure.data
    assert (list(line.x), list(line.y)) == ([3.0, 4.0], [24.0, 22.0])
    sizes = {name[0]: size for trace in points for name, size in zip(trace.customdata, trace.marker.size, strict=True)}
    assert sizes[FAST] > sizes[BEATEN] and sizes[SMALL] > sizes[BF16]
    assert {name[0]: (x, y) for trace in points for name, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)}[BF16] == (
        5.0,
        34.0,
    )
    assert "GiB" in figure.layout.yaxis.title.text and figure.layout.xaxis.title.text == "time of a call, s"
    assert figure.layout.xaxis.range[0] < 3.0 and figure.layout.xaxis.range[1] > 5.0


def test_levels_are_colours_and_the_base_is_none():
    from profiler.metrics.sweep_front import Group

    rows = [("base", 5.0, 30.0, float("inf"), False, 0.0), ("a", 3.0, 20.0, 21.5, True, 0.2), ("b", 4.0, 22.0, 30.0, True, None)]
    columns = ["id", "time_s", "inference_peak_gib", "sqnr_db", "extrapolated", "error_s"]
    cells = pl.DataFrame(rows, schema=columns, orient="row").with_columns(pareto=pl.col("id") != "base")
    group = Group({}, ["base", "a", "b"], "inference_peak_gib", True, ["a", "b"], {})
    _, base, levels = charts.scatter(cells, group).data
    assert [each[0] for each in base.customdata] == ["base"] and base.name == "bf16, which SQNR is against"
    assert (list(levels.marker.color), list(levels.error_x.array)) == ([21.5, 30.0], [0.2, 0.0])
    assert "extrapolated" in levels.hovertext[0] and "SQNR 21.5 dB" in levels.hovertext[0]
    assert style.empty(charts.scatter(cells, Group({}, ["a"], "", False, [], {})))


def test_small_sizes_are_in_mib(tmp_path: Path):
    from small_sweeps import write_cell

    path = tmp_path / NAME
    write_state(
        path, [write_cell(path, name, time_s, size / 1024, None) for name, time_s, size in ((FAST, 2, 3), (BF16, 3, 6))], "ok"
    )
    result = sweep_result(path)
    figure = charts.scatter(result.cells, result.groups[0])
    assert figure.layout.yaxis.title.text == "model memory, MiB"
    assert sorted(y for trace in figure.data[1:] for y in trace.y) == pytest.approx([3.0, 6.0])


def test_names_cover_neither_points_nor_names_nor_the_line():
    rows = [
        {"id": name, "time_s": time_s, "size": size, "pareto": True}
        for name, time_s, size in (("alone", 1.0, 30.0), ("crowd-a", 4.0, 20.0), ("crowd-b", 4.01, 20.2), ("last", 4.0, 19.5))
    ]
    found = charts._named(rows, [0.0, 8.0], [18.0, 32.0])
    assert found == {"alone": "top center", "crowd-a": "middle right", "crowd-b": "middle left", "last": "middle left"}
    # To its right the line runs on, above it is a point, below and on its left the figure ends.
    corner = (("first", 0.1, 18.5), ("above", 0.1, 19.3), ("small", 4.0, 18.05))
    rows = [{"id": name, "time_s": time_s, "size": size, "pareto": True} for name, time_s, size in corner]
    assert "first" not in charts._named(rows, [0.0, 8.0], [18.0, 32.0])
    assert charts._named(rows[:2], [0.0, 8.0], [18.0, 32.0])["first"] == "middle right"


def test_the_bar_of_statuses_is_as_long_as_the_sweep():
    figure = charts.statuses({"ok": 3, "queued": 2, "oom": 0})
    assert [(trace.name, trace.x[0]) for trace in figure.data] == [("ok", 3), ("queued", 2)]
    assert tuple(figure.layout.xaxis.range) == (0, 5)


def test_every_status_has_a_colour():
    from profiler.tables.sweep import STATUSES

    assert set(charts.STATUSES) == set(STATUSES)
    assert len(set(charts.STATUSES.values())) == len(STATUSES)


def test_the_seed_is_beside_the_cells(swept: Path):
    result = sweep_result(swept, against="seed")
    assert result.against_seed
    ours = charts.beside_seed(result.against_seed.rows).data[1]
    assert ours.name == "ours" and ours.y[-1] == FAST and ours.x[-1] == 3.0
    row = result.against_seed.rows.filter(pl.col("id") == FAST)
    assert f"{row['time_ratio'].item():.2f} of the seed's" in ours.text[-1]
    assert not any("~" in text for text in ours.text)
    guessed = charts.beside_seed(result.against_seed.rows.with_columns(extrapolated=pl.lit(True))).data[1]
    assert guessed.text[-1].strip().startswith("~3.00 s"), "extrapolated is marked everywhere"
    assert style.empty(charts.beside_seed(result.against_seed.rows.clear()))
    test = show("sweep", run=NAME, base="seed")
    assert not test.exception
    assert len(test.dataframe) == 3 and test.dataframe[1].value["time_ratio"][0] == pytest.approx(row["time_ratio"].item())
    assert len(show("sweep", run=NAME, base="nothing").dataframe) == 2


def test_a_picked_cell_leads_to_its_pages(swept: Path):
    assert "left no run directory" in text_of(show("sweep", run=NAME, row="int4wo-regional"))
    test = show("sweep", run=NAME, row=FAST)
    queries = [each.proto.query_string for each in test.get("page_link")]
    assert sum(f"run={NAME}%2F{FAST}" in each for each in queries) >= 3, queries


def test_a_budget_of_the_address_asks_for_one_more_answer(swept: Path):
    test = show("sweep", run=NAME, at_most_gib="23")
    assert test.number_input(key="budget_gib").value == 23.0
    assert "within budget" in text_of(test) and f"23 GiB: {SMALL}" in text_of(test)
    test.number_input(key="budget_gib").set_value(10.0).run()
    assert test.query_params["at_most_gib"] in ("10", ["10"])
    assert "no cell keeps 10 GiB" in text_of(test)
    assert "within budget" not in text_of(show("sweep", run=NAME, at_most_gib="<script>"))


def test_columns_that_say_nothing_are_told_in_a_line(result: SweepResult):
    (group,) = result.groups
    same = sweep_table.shared(sweep_table.table(result, group))
    assert same["batch_size"] == 1 and same["fuse_qkv"] is False
    assert "quantization" not in same
    assert sweep_table.told(same).startswith("flux-dev, batch 1, without compile VAE, fuse QKV")
    assert sweep_table.told({"compile": False, "compile_mode": "none", "fuse_qkv": True}) == "fuse QKV, without compile"


def test_a_cell_is_a_run_of_every_page(swept: Path):
    assert [row.name for row in sweeps.cells_of(f"{NAME}/{FAST}")] == sorted(f"{NAME}/{name}" for name in CELLS)
    assert sweeps.cells_of(NAME) == [] and sweeps.cells_of("nothing/here") == []
    for page in ("diagnosis", "memory", "compare"):
        test = show(page, run=f"{NAME}/{FAST}", base=f"{NAME}/{BF16}")
        assert not test.exception, test.exception[0].message
        assert not test.warning
        menu = "compare_new" if page == "compare" else "run_menu"
        assert test.selectbox(key=menu).value == f"{NAME}/{FAST}"


@pytest.mark.parametrize("cell", ["../other", "..", "logs", "fp8dqrow-regional/rank0", "/etc", ""])
def test_no_cell_leads_out_of_its_sweep(swept: Path, cell: str):
    (swept / "logs").mkdir()
    (swept.parent / "other").mkdir()
    (swept.parent / "other" / "run.json").write_text("{}")
    with pytest.raises(UnreadableInput, match="holds no run called"):
        folder.path_of(f"{NAME}/{cell}" if cell else "other/run.json")


def test_what_to_ship_is_near_bf16_where_the_fastest_is_not(result: SweepResult):
    group = result.groups[0]
    far, near = Advice(FASTEST, group.work, FAST, "far: 2 s, SQNR 6.6 dB"), Advice(FAITHFUL, group.work, FAST, "near: 3 s")
    assert answer(replace(result, recommended=[far, near]), group) == "Ship near: 3 s"
    assert answer(replace(result, recommended=[far]), group) == f"Ship {far.text}"


def test_the_folder_may_be_the_sweep(swept: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(swept))
    assert folder.path_of(f"{NAME}/{FAST}") == swept / FAST
    assert answer_of(show("sweep")).startswith(f"Ship {FAST}")


def test_a_sweep_that_runs_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    write_sweep(tmp_path, "running", waiting=2)
    test = show("sweep")
    assert not test.exception
    shown = text_of(test)
    assert "6 of 9 cells are done" in shown
    assert "fp6_e3m2-regional runs since 3" in shown and "on box/gpu0" in shown
    assert "left at the pace so far" in shown
    assert list(test.dataframe[1].value["status"]) == ["running", "failed", "timeout", "queued", "queued"]


def test_the_time_left_is_that_of_the_pace_so_far(tmp_path: Path):
    tables = sweep_result(write_sweep(tmp_path, "running", waiting=2)).tables
    began = next(each.cell.began_ns for each in tables.cells if each.cell.status == "running")
    # Four took 60 s and two 90: 70 s each for the two that wait, and 40 more for the one that runs since 30 s.
    assert began and sweep_progress.seconds_left(tables.cells, began + 30 * 10**9) == pytest.approx(180.0)
    assert sweep_progress.seconds_left(tables.cells[:6], began) is None


def test_nothing_is_done_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    path = tmp_path / NAME
    path.mkdir()
    cell: dict[str, Any] = {"id": "a", "spec": {"model": "flux-dev"}, "status": "queued", "attempts": 0}
    write_state(path, [cell], "running")
    test = show("sweep")
    assert not test.exception
    assert answer_of(test) == "No cell is done yet."
    write_state(path, [cell | {"status": "failed", "reason": "x"}], "failed")
    test = show("sweep")
    assert not test.exception and answer_of(test) == "No cell has a result."
    assert "ended as failed; the same command goes on" in text_of(test)


def test_news_are_seen_and_a_dead_sweep_is_none_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    path = write_sweep(tmp_path, "running")
    before = sweeps.stamp(path)
    manifest = json.loads((path / "run.json").read_text())
    times = (path / "run.json").stat()
    manifest["process"] = {"pid": 2**31 - 2}
    (path / "run.json").write_text(json.dumps(manifest))
    import os

    os.utime(path / "run.json", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert sweeps.stamp(path)[0] == "interrupted" != before[0]
    assert sweeps.result(NAME).tables.status == "interrupted"


def test_cells_that_do_other_work_are_chosen_in_a_menu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    path = write_sweep(tmp_path)
    run = json.loads((path / BEATEN / "run.json").read_text())
    run["spec"]["batch"] = 4
    (path / BEATEN / "run.json").write_text(json.dumps(run))
    test = show("sweep")
    assert "batch 1" in test.selectbox(key="work_menu").value
    test.selectbox(key="work_menu").select_index(1).run()
    assert "batch 4" in str(test.query_params["work"])
    assert list(test.dataframe[0].value["id"]) == [BEATEN]


def test_a_file_that_is_no_sweep_is_said(swept: Path):
    (swept / "sweep.json").write_text('{"schema": 1, "cells": 3}')
    test = show("sweep")
    assert not test.exception
    assert "sweep.json cannot be read" in text_of(test)


def test_markup_in_a_cell_stays_text(swept: Path):
    test = show("sweep", run=NAME, row=next(name for name in FAILED if "<" in name))
    assert not test.exception
    for each in test.get("html"):
        assert "<img" not in each.proto.body and "<script" not in each.proto.body

"""Pages without a browser: none fails on any kind of run, the answers on top are those of the metrics."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import polars as pl
import pytest
from small_folders import BF16, BREAKS, FP8, HOSTILE, INT8, OOM
from streamlit.testing.v1 import AppTest

from dashboards import folder
from dashboards.navigation import ENTRIES
from profiler.metrics.compare import compare
from profiler.metrics.graph_breaks import graph_breaks
from profiler.metrics.ledger import ledger
from profiler.metrics.memory import peak
from profiler.report.diagnose import diagnose
from profiler.report.diagnose import to_json as diagnosis_json
from profiler.report.show import show_data
from profiler.tables.run import Run

PAGES = [entry.path for entry in ENTRIES]


def show(page: str, **query: str) -> AppTest:
    def script(module: str) -> None:
        import importlib

        from dashboards import parts
        from profiler.core.errors import DiffuscopeError

        try:
            importlib.import_module(module).page()
        except DiffuscopeError as error:
            parts.nothing(error.message, error.hint)

    (module,) = (entry.module for entry in ENTRIES if entry.path == page)
    test = AppTest.from_function(script, kwargs={"module": module}, default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def text_of(test: AppTest) -> str:
    """All text that went into the page's own markup."""
    markup = " ".join(each.proto.body for each in test.get("html"))
    return unescape(re.sub(r"<[^>]+>", " ", markup))


def answer_of(test: AppTest) -> str:
    found = re.search(r'class="ds-answer">(.*?)</p>', " ".join(each.proto.body for each in test.get("html")))
    return unescape(found[1]) if found else ""


@pytest.fixture
def pages(runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(folder.VARIABLE, str(runs_folder))
    return runs_folder


@pytest.mark.parametrize("run", [INT8, OOM, "broken", HOSTILE])
@pytest.mark.parametrize("page", PAGES)
def test_no_page_fails_on_any_run(pages: Path, page: str, run: str):
    test = show(page, run=run)
    assert not test.exception, test.exception[0].message
    assert text_of(test)


def test_a_run_outside_the_folder_is_not_shown(pages: Path):
    test = show("diagnosis", run="../secret")
    assert [each.value for each in test.warning] == ["There is no run called `../secret` here; showing another."]


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_folder_says_what_to_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    test = show(page)
    assert not test.exception
    made_by = {"tune": "diffuscope tune", "sweep": "diffuscope sweep", "import": "diffuscope import"}
    assert made_by.get(page, "diffuscope record") in text_of(test)


def test_no_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path / "nothing"))
    assert "is no folder" in text_of(show("runs"))


def test_runs_answers_with_the_fastest(pages: Path):
    test = show("runs")
    assert answer_of(test).startswith(f"{FP8} is the fastest of 3 runs of flux-dev: 2.98 s a call")
    table = test.dataframe[0].value
    assert len(table) == 6
    assert set(table["status"]) == {"ok", "oom", "unreadable"}
    assert "broken cannot be read" in text_of(test)


def test_the_diagnosis_is_that_of_the_command(pages: Path):
    expected = diagnosis_json(diagnose(Run.open(pages / INT8)))
    shown = text_of(show("diagnosis", run=INT8, finding="2"))
    assert f"{expected['window']['untraced_us'] / 1e3:,.2f}" in shown
    for number, each in enumerate(expected["findings"], 1):
        assert f"{number}. {each['title']}" in shown
        assert each["change"] in shown
    for each in expected["not_checked"]:
        assert each["rule"] in shown
    assert "selected" in shown


def test_the_kernels_are_those_of_show(pages: Path):
    test = show("kernels", run=INT8)
    expected = show_data(Run.open(pages / INT8))
    first, total = expected["classes"][0], sum(each["total_us"] for each in expected["classes"])
    assert f"{first['class']} takes {first['share']:.0%} of the whole trace" in answer_of(test)
    assert f"{first['total_us'] / 1e3:,.2f} of {total / 1e3:,.2f} ms" in answer_of(test)
    assert len(test.dataframe[0].value) == len(expected["kernels"])
    step = show("kernels", run=INT8, window="step/1")
    assert "of step 1:" in answer_of(step)


def test_kernels_have_a_spread_a_roofline_and_a_neighbour(pages: Path):
    test = show("kernels", run=INT8, window="step", base=BF16)
    assert "Roofline" in text_of(test) and "Beside another run" in text_of(test)
    table, differences = (each.value for each in test.dataframe)
    step = ledger(Run.open(pages / INT8))
    per_step = step.rows.filter(pl.col("detail").str.contains("i16832gemm_s8_128x64")).sort("index")["total_ns"].to_list()
    first = table.iloc[0]
    assert first["total_ms"] == pytest.approx(sum(per_step) / 1e6)
    assert first["spread"] == pytest.approx(100 * (max(per_step) - min(per_step)) * 2 / sum(per_step))
    # One step of each, not all that were traced.
    assert differences.iloc[0]["first_ms"] == pytest.approx(sum(per_step) / 2e6)


def test_a_window_that_is_not_there_is_the_whole_trace(pages: Path):
    assert "of the whole trace" in answer_of(show("kernels", run=INT8, window="step/99"))


def test_the_memory_is_that_of_the_metrics(pages: Path):
    found = peak(Run.open(pages / INT8))
    shown = show("memory", run=INT8)
    assert f"{found.requested_bytes / 2**30:.3f} GiB in decode" in answer_of(shown)
    assert "Out of memory: 16.000 GiB asked" in answer_of(show("memory", run=OOM))


def test_any_number_of_runs_is_laid_over_each_other(pages: Path):
    test = show("memory", run=INT8, also=f"{BF16}\n{FP8}\nnothing")
    assert test.multiselect(key="memory_also").value == [BF16, FP8]
    rows = test.dataframe[0].value
    assert list(rows["run"]) == [INT8, BF16, FP8]
    assert rows["peak"][0] == pytest.approx(peak(Run.open(pages / INT8)).requested_bytes / 2**30, abs=0.01)


def test_fragmentation_is_that_of_the_metrics(pages: Path):
    free = peak(Run.open(pages / INT8)).free
    assert free and free.pieces
    assert f"{free.free_bytes / 2**30:.3f} GiB of {free.reserved_bytes / 2**30:.3f} GiB reserved are free" in text_of(
        show("memory", run=INT8)
    )


def test_several_runs_against_one_base(pages: Path):
    test = show("compare", run=INT8, base=BF16, also=FP8)
    rows = test.dataframe[0].value
    assert list(rows["run"]) == [BF16, INT8, FP8]
    found = compare(Run.open(pages / FP8), Run.open(pages / BF16))
    assert found.expected and found.expected.measured
    assert rows["promised_gib"][2] == pytest.approx(found.expected.win / 2**30)
    assert rows["measured_gib"][2] == pytest.approx(found.expected.measured / 2**30)
    assert "the last latents instead" in text_of(test)


def test_generated_code_and_the_moment_of_a_recompile(pages: Path):
    test = show("compile", run=INT8)
    assert len(test.code) == 0
    test.selectbox(key="code_piece_0").select_index(0).run()
    (code,) = test.code
    assert code.language == "python" and "async_compile.triton('triton_poi_fused_silu_0'" in code.value
    assert len(test.selectbox(key="code_file").options) == 3
    at = show("timeline", run=INT8, region="1/1")
    assert answer_of(at) == "Compiled region 1/1"
    (frame,) = at.get("iframe")
    assert "&from=" in frame.proto.src
    assert "nowhere in this trace" in text_of(show("timeline", run=INT8, region="9/9"))


def test_a_graph_break_has_a_moment(golden: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(golden))
    (name,) = graph_breaks(Run.open(golden / BREAKS))["break"].to_list()
    test = show("timeline", run=BREAKS, graph_break=name)
    assert answer_of(test).startswith("Graph break GB0124")
    assert "&from=" in test.get("iframe")[0].proto.src


def test_the_ledger_of_another_window(pages: Path):
    test = show("diagnosis", run=INT8)
    test.segmented_control(key="ledger_window").set_value("decode").run()
    decode = diagnose(Run.open(pages / INT8), window="decode")
    assert f"traced {decode.dur_ns / 1e6:,.2f} ms" in text_of(test)


def test_compare_starts_with_its_verdict(pages: Path):
    shown = show("compare", run=INT8, base=BF16)
    assert answer_of(shown).startswith("Time: real. A call takes")
    assert "memory: real" in text_of(shown)


def test_a_run_is_held_against_bf16_of_its_model(pages: Path):
    test = show("compare", run=FP8)
    assert test.selectbox(key="compare_base").value == BF16
    assert test.selectbox(key="compare_new").value == FP8


def test_the_timeline_opens_at_the_finding(pages: Path):
    test = show("timeline", run=INT8, finding="1")
    (frame,) = test.get("iframe")
    assert frame.proto.src.startswith("/trace-view?run=flux-dev-int8dq-regional&")
    assert "&start=" in frame.proto.src and "&from=" in frame.proto.src
    assert "Finding 1: GEMM int8" in answer_of(test)
    (whole,) = show("timeline", run=INT8).get("iframe")
    assert "&start=" not in whole.proto.src


def test_the_menu_moves_the_selection(pages: Path):
    test = show("kernels", run=INT8, window="step/1")
    test.selectbox(key="run_menu").select(BF16).run()
    assert test.query_params["run"] in (BF16, [BF16])
    assert "window" not in test.query_params


@pytest.mark.parametrize("page", PAGES)
def test_markup_in_a_run_stays_text(pages: Path, page: str):
    test = show(page, run=HOSTILE, kernel=HOSTILE)
    for each in test.get("html"):
        assert "<img" not in each.proto.body and "<script" not in each.proto.body
    for each in test.markdown:
        assert "<img" not in each.value

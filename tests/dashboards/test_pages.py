"""Pages without a browser: none fails on any kind of run, the answers on top are those of the metrics."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from small_folders import BF16, FP8, HOSTILE, INT8, OOM
from streamlit.testing.v1 import AppTest

from dashboards import folder
from dashboards.navigation import ENTRIES
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


def test_a_window_that_is_not_there_is_the_whole_trace(pages: Path):
    assert "of the whole trace" in answer_of(show("kernels", run=INT8, window="step/99"))


def test_the_memory_is_that_of_the_metrics(pages: Path):
    found = peak(Run.open(pages / INT8))
    shown = show("memory", run=INT8)
    assert f"{found.requested_bytes / 2**30:.3f} GiB in decode" in answer_of(shown)
    assert "Out of memory: 16.000 GiB asked" in answer_of(show("memory", run=OOM))


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

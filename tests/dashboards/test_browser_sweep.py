"""Sweeps in a real browser: figures are those of `--json`, and a sweep that goes on is seen without a click."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from processes import diffuscope
from small_sweeps import BEATEN, FAST, NAME, write_cell, write_state, write_sweep
from test_browser import CHROMIUM, Browser, address, browser, sync_api

__all__ = ["address", "browser", "sync_api"]
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here (apt-get install chromium, or set CHROMIUM)")


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    write_sweep(folder)
    return folder


def test_the_page_says_what_json_says(browser: Browser, runs_folder: Path):
    window = browser.open(f"/sweep?run={NAME}&row={BEATEN}&base=seed")
    window.wait_for_selector(".js-plotly-plot")
    data = json.loads(diffuscope("show", runs_folder / NAME, "--json").stdout)
    fastest = next(each["text"] for each in data["recommended"] if each["what"] == "fastest")
    assert window.locator(".ds-answer").inner_text() == f"Ship {fastest}"
    figures = window.locator(".ds-kpis").inner_text()
    time_s = min(each["time_s"] for each in data["cells"] if each["time_s"])
    assert f"{time_s:.3f}" in figures and FAST in figures and f"{len(data['pareto'])}" in figures
    assert window.locator(".js-plotly-plot").count() == 3
    assert window.locator("[data-testid=stException]").count() == 0
    assert window.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 1280
    assert window.evaluate("window.hacked === undefined") and window.locator("img[src=x]").count() == 0
    assert browser.broken == [] and browser.left == []


def test_a_cell_opens_on_other_pages_and_back(browser: Browser):
    window = browser.open(f"/sweep?run={NAME}&row={BEATEN}")
    window.get_by_role("link", name=f"Diagnose {BEATEN}").click()
    window.wait_for_url(f"**/diagnosis?run={quote(f'{NAME}/{BEATEN}', safe='')}")
    window.get_by_role("link", name="Sweep", exact=True).click()
    window.wait_for_url(f"**/sweep?run={NAME}")
    assert window.locator("[data-testid=stException]").count() == 0


def test_the_table_is_taken_along(browser: Browser, runs_folder: Path):
    window = browser.open(f"/sweep?run={NAME}")
    with window.expect_download() as download:
        window.get_by_role("button", name="Table as .csv").click()
    assert download.value.suggested_filename == f"{NAME}.csv"
    expected = diffuscope("show", runs_folder / NAME, "--format", "csv").stdout
    assert Path(download.value.path()).read_text().strip() == expected.strip()


def test_a_cell_that_ends_is_seen_without_a_click(browser: Browser, tmp_path_factory: pytest.TempPathFactory, runs_folder: Path):
    path = runs_folder / "sweep-live"
    path.mkdir()
    waiting = {"id": "late", "spec": {"model": "flux-dev"}, "status": "running", "attempts": 1}
    first = write_cell(path, "bf16", 5.0, 31, 34)
    write_state(path, [first, waiting], "running")
    window = browser.open("/sweep?run=sweep-live")
    assert "1 of 2 cells are done" in window.locator("h3.ds-section").all_inner_texts()
    done = write_cell(path, "fp8dqrow-regional", 2.5, 20, 24)
    write_state(path, [first, done], "ok")
    window.wait_for_function("document.querySelector('.ds-answer').innerText.startsWith('Ship fp8dqrow-regional: 2.500 s')")
    window.wait_for_function("[...document.querySelectorAll('h3.ds-section')].some(each => each.innerText === '2 cells')")
    assert window.locator("[data-testid=stException]").count() == 0

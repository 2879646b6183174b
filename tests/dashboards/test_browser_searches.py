"""Tunings, sweeps and imports in a real browser: figures are those of `--json`, files go in and a diagnosis comes out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hostile_pickles import CANARY, RUNS_CODE
from processes import diffuscope
from small_folders import INT8
from small_sweeps import BEATEN, FAST, write_cell, write_state, write_sweep
from small_sweeps import NAME as SWEEP
from small_tunes import NAME, write_tune
from test_browser import CHROMIUM, Browser, address, browser, sync_api

from dashboards.links import Selection, page_url

__all__ = ["address", "browser", "sync_api"]
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here (apt-get install chromium, or set CHROMIUM)")
HACK = "<img src=x onerror=window.hacked=1>.json"


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tuning and a small sweep; everything else is imported."""
    folder = tmp_path_factory.mktemp("searches")
    write_tune(folder)
    write_sweep(folder)
    return folder


def send(browser: Browser, slot: int, name: str, content: bytes) -> Any:
    """Open the page, drop one file, press the button; slots are trace, snapshot, log."""
    window = browser.open("/import")
    field = window.locator("[data-testid=stFileUploaderDropzoneInput]").nth(slot)
    field.set_input_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})
    window.wait_for_selector("[data-testid=stFileChip], [data-testid=stFileUploaderFile]")
    window.get_by_role("button", name="Import").click()
    return window


def test_a_real_trace_becomes_a_diagnosis(browser: Browser, runs_folder: Path, golden: Path):
    before = {each.name for each in runs_folder.iterdir()}
    window = send(browser, 0, "../my flux.json.gz", (golden / INT8 / "rank0" / "trace.json.gz").read_bytes())
    window.wait_for_url(re.compile(r"/diagnosis\?run=import-my-flux$"))
    window.wait_for_selector(".st-key-finding_1")
    assert {each.name for each in runs_folder.iterdir()} == before | {"import-my-flux"}
    done = diffuscope("diagnose", runs_folder / "import-my-flux", "--json")
    first = json.loads(done.stdout)["findings"][0]
    assert first["title"].casefold() in window.locator(".ds-answer").inner_text().casefold()
    assert window.locator("[data-testid=stException]").count() == 0
    assert browser.broken == [] and browser.left == []


@pytest.mark.parametrize(
    ("slot", "content", "said"),
    [
        (0, b"\x1f\x8b\x08", "img-src-x-onerror-window.hacked-1-.json"),
        (1, RUNS_CODE["stack global reduce"], "cannot be read"),
        (2, b"no log", "is no structured compile log"),
    ],
    ids=["trace", "snapshot", "log"],
)
def test_a_hostile_file_is_one_sentence(browser: Browser, runs_folder: Path, slot: int, content: bytes, said: str):
    before = sorted(runs_folder.iterdir())
    window = send(browser, slot, HACK, content)
    shown = window.wait_for_selector(".ds-empty").inner_text()
    assert said in shown and "Nothing was imported." in shown
    assert "Traceback" not in shown and str(runs_folder) not in shown
    assert window.locator("[data-testid=stException]").count() == 0
    assert window.evaluate("window.hacked === undefined") and window.locator("img[src=x]").count() == 0
    assert sorted(runs_folder.iterdir()) == before
    assert not list(Path.cwd().glob(CANARY)) and not list(runs_folder.glob(f"**/{CANARY}"))


def test_without_a_file_the_button_says_so(browser: Browser):
    window = browser.open("/import")
    window.get_by_role("button", name="Import").click()
    assert "nothing to import yet" in window.wait_for_selector(".ds-empty").inner_text()


def test_the_tuning_says_what_json_says(browser: Browser, runs_folder: Path):
    window = browser.open(page_url("tune", Selection(run=NAME, row="512x1024x2048")))
    window.wait_for_selector(".js-plotly-plot")
    found = json.loads(diffuscope("show", runs_folder / NAME, "--json").stdout)
    assert f"{found['step_ms']['tuned']:,.2f} ms" in window.locator(".ds-answer").inner_text()
    figures = window.locator(".ds-kpis").inner_text()
    assert f"{found['step_ms']['bf16']:,.2f}" in figures and f"{found['rejected']} wrong" in figures
    (best,) = (each["best"] for each in found["shapes"] if each["m"] == 512)
    assert f"{best['us']:,.1f} us" in window.locator(".ds-price").first.inner_text()
    assert window.locator(".js-plotly-plot").count() == 3
    assert window.locator("[data-testid=stException]").count() == 0
    assert window.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 1280
    assert browser.broken == [] and browser.left == []


def test_the_sweep_says_what_json_says(browser: Browser, runs_folder: Path):
    window = browser.open(f"/sweep?run={SWEEP}&row={BEATEN}&base=seed")
    window.wait_for_selector(".js-plotly-plot")
    data = json.loads(diffuscope("show", runs_folder / SWEEP, "--json").stdout)
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
    window = browser.open(f"/sweep?run={SWEEP}&row={BEATEN}")
    window.get_by_role("link", name=f"Diagnose {BEATEN}").click()
    window.wait_for_url(f"**/diagnosis?run={quote(f'{SWEEP}/{BEATEN}', safe='')}")
    window.get_by_role("link", name="Sweep", exact=True).click()
    window.wait_for_url(f"**/sweep?run={SWEEP}")
    assert window.locator("[data-testid=stException]").count() == 0


def test_the_table_is_taken_along(browser: Browser, runs_folder: Path):
    window = browser.open(f"/sweep?run={SWEEP}")
    with window.expect_download() as download:
        window.get_by_role("button", name="Table as .csv").click()
    assert download.value.suggested_filename == f"{SWEEP}.csv"
    expected = diffuscope("show", runs_folder / SWEEP, "--format", "csv").stdout
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

"""The HTML report in a real browser, from a file: it shows, it asks for nothing, and no name in a run becomes a script."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hostile_run import BREAKOUTS, IMAGE, NAME, hostile_run
from sweep_folders import kept_sweep

from profiler.report.html import page
from profiler.report.html_data import Gathered, Memory, gather
from profiler.report.html_sweep import page as page_of_sweep
from profiler.report.sweep import sweep_data
from profiler.tables.run import Run

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here (apt-get install chromium, or set CHROMIUM)")
TRACES = Path(__file__).resolve().parents[2] / "traces"
INT8, BF16, OOM = "flux-dev-int8dq-regional", "flux-dev-bf16", "flux-dev-batch64-oom"
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
# Keys whose values choose what is drawn; everything else is text.
_CHOOSING = ("source",)
# Whatever could run or load something, or show that text became markup.
_FOREIGN = """() => [...document.querySelectorAll('*')].filter(each =>
  ['SCRIPT', 'IMG', 'IFRAME', 'OBJECT', 'EMBED', 'LINK', 'FORM', 'svg'].includes(each.tagName) && !each.matches('svg[class]')
  || [...each.attributes].some(one => one.name.startsWith('on')
    || ['href', 'src', 'action', 'formaction', 'xlink:href'].includes(one.name) && !/^(#|https:)/.test(one.value))
).map(each => each.outerHTML.slice(0, 200))"""


def golden(name: str) -> Run:
    if not (TRACES / name / "run.json").is_file():
        pytest.skip(f"no {name} in traces/")
    return Run.open(TRACES / name)


class Browser:
    """One window, with what it asked for and every error."""

    def __init__(self, window: Any) -> None:
        self.window = window
        self.asked: list[str] = []
        self.broken: list[str] = []
        window.on("request", lambda request: self.asked.append(request.url))
        window.on("pageerror", lambda error: self.broken.append(str(error)))
        window.on("console", lambda message: self.broken.append(message.text))

    def open(self, markup: str, path: Path, scheme: str = "light") -> Any:
        path.write_text(markup, encoding="utf-8")
        self.asked.clear()
        self.broken.clear()
        self.window.emulate_media(color_scheme=scheme, media="screen")
        self.window.goto(path.as_uri())
        return self.window


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        # No name resolves: a request that slips through everything else still goes nowhere.
        flags = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
        process = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        window = process.new_page(viewport={"width": 1280, "height": 900})
        window.set_default_timeout(60_000)
        yield Browser(window)
        process.close()


@pytest.fixture(scope="module")
def whole() -> Gathered:
    """A whole run with its base."""
    return gather(golden(INT8), golden(BF16))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_opens_from_a_file_and_asks_for_nothing_else(browser: Browser, whole: Gathered, tmp_path: Path, scheme: str):
    window = browser.open(page(whole), tmp_path / "report.html", scheme)
    assert browser.asked == [(tmp_path / "report.html").as_uri()]
    assert browser.broken == []
    assert window.evaluate("document.documentElement.scrollWidth") <= 1280, "wider than the window"
    assert window.locator("h1").inner_text().startswith("GEMM int8 runs on Ampere kernels")
    assert window.locator("svg.figure").count() >= 8
    ground = window.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = window.evaluate("getComputedStyle(document.body).color")
    assert (ground, ink) == {
        "light": ("rgb(255, 255, 255)", "rgb(27, 36, 48)"),
        "dark": ("rgb(16, 21, 28)", "rgb(227, 232, 238)"),
    }[scheme]
    # Letters of a figure follow, and nothing of a figure lies outside the page.
    tick = window.evaluate("getComputedStyle(document.querySelector('svg text.tick')).fill")
    assert tick == {"light": "rgb(95, 108, 122)", "dark": "rgb(151, 165, 180)"}[scheme]
    assert _outside(window) == []


def _outside(window: Any) -> list[str]:
    """Texts of figures that stick out of the window."""
    found: list[str] = window.evaluate(
        """() => [...document.querySelectorAll('svg.figure text')].filter(each => {
             const box = each.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth })
           .map(each => each.textContent)"""
    )
    return found


def test_every_link_of_the_menu_leads_somewhere(browser: Browser, tmp_path: Path):
    window = browser.open(page(gather(golden(OOM))), tmp_path / "report.html")
    targets = window.eval_on_selector_all("nav a", "all => all.map(each => each.getAttribute('href'))")
    assert targets == ["#findings", "#memory", "#run"]
    assert all(window.locator(f"section{each}").count() == 1 for each in targets)


def test_on_paper_everything_is_open_and_light(browser: Browser, whole: Gathered, tmp_path: Path):
    window = browser.open(page(whole), tmp_path / "report.html", "dark")
    window.emulate_media(media="print", color_scheme="dark")
    assert window.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert window.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    folded = window.locator("details table").first
    assert folded.evaluate("each => each.getBoundingClientRect().height") > 100
    assert window.pdf(format="A4")[:4] == b"%PDF"


@pytest.mark.parametrize("policy", [True, False], ids=["as it is", "without its policy"])
def test_markup_in_a_run_runs_nothing(browser: Browser, tmp_path: Path, policy: bool):
    """Without the policy too: it is the second wall, not the first."""
    markup = page(gather(hostile_run(tmp_path / "runs")))
    assert_harmless(browser, tmp_path, markup if policy else _POLICY.sub("", markup))
    shown = browser.window.locator("body").inner_text()
    assert IMAGE in shown and "sm80_xmma_gemm_s8" in shown and "javascript:" in shown


def test_markup_in_every_text_of_a_report_runs_nothing(browser: Browser, whole: Gathered, tmp_path: Path):
    """Every text that a report of a whole run with its base shows, replaced by markup."""
    markup = page(poisoned(whole))
    assert markup.count("&lt;script&gt;") > 500
    assert_harmless(browser, tmp_path, _POLICY.sub("", markup))


def assert_harmless(browser: Browser, folder: Path, markup: str) -> None:
    path = folder / "hostile.html"
    window = browser.open(markup, path)
    window.wait_for_timeout(200)
    assert window.evaluate("window.hacked") is None
    assert window.evaluate(_FOREIGN) == []
    assert browser.asked == [path.as_uri()]
    assert browser.broken == []
    assert window.locator("main").count() == 1 and window.locator("section#run").count() == 1, "a text closed an element"


@pytest.mark.parametrize("place", ["</main>", "<title>", 'class="name">'])
def test_unescaped_markup_would_be_noticed(browser: Browser, tmp_path: Path, place: str):
    markup = page(gather(golden(OOM)))
    planted = _POLICY.sub("", markup.replace(place, f"{place}</title>{IMAGE}", 1))
    window = browser.open(planted, tmp_path / "planted.html")
    window.wait_for_function("window.hacked === 'image'")
    assert window.evaluate(_FOREIGN)
    # And the policy alone stops it.
    kept = browser.open(
        markup.replace("</main>", f"</main>{''.join(BREAKOUTS[:6])}".encode("utf-8", "replace").decode(), 1),
        tmp_path / "kept.html",
    )
    kept.wait_for_timeout(200)
    assert kept.evaluate("window.hacked") is None


def poisoned(found: Gathered) -> Gathered:
    """The same with `NAME` for every text."""
    made = {each.name: _poison(getattr(found, each.name)) for each in fields(found)}
    return replace(found, **made | {"sources": {place: [NAME, NAME] for place in _places(made)}})


def _places(made: dict[str, Any]) -> list[tuple[str, int]]:
    findings = made["diagnosis"]["findings"] + made["diagnosis"]["memory"]["findings"]
    return [(place["file"], place["line"]) for each in findings for place in each["where"] if place["file"]]


def _poison(value: Any) -> Any:
    if isinstance(value, str):
        return NAME
    if isinstance(value, dict):
        return {key: each if key in _CHOOSING else _poison(each) for key, each in value.items()}
    if isinstance(value, Memory):
        return replace(value, data=_poison(value.data), held={(NAME, NAME, NAME): sum(value.held.values())})
    return [_poison(each) for each in value] if isinstance(value, list) else value


def test_markup_in_every_text_of_a_sweep_runs_nothing(browser: Browser, tmp_path: Path):
    if not (TRACES / INT8 / "run.json").is_file():
        pytest.skip("no kept runs in traces/")
    kept_sweep(tmp_path / "flux")
    data = sweep_data(tmp_path / "flux", against="seed")
    for path, markup in (
        (tmp_path / "as-is.html", page_of_sweep(data)),
        (tmp_path / "poisoned.html", page_of_sweep(_poisoned_sweep(data))),
    ):
        window = browser.open(_POLICY.sub("", markup), path)
        assert window.evaluate("window.hacked") is None
        assert window.evaluate(_FOREIGN) == []
        assert (browser.asked, browser.broken) == ([path.as_uri()], [])
        assert window.locator("section#advice").count() == 1
        assert window.evaluate("document.documentElement.scrollWidth") <= 1280


def _poisoned_sweep(data: dict[str, Any]) -> dict[str, Any]:
    """Every text, but for what joins cells and says of which kind they are."""
    groups = [each | {"work": _poison(each["work"])} for each in data["groups"]]
    cells = [_poison(each) | {"id": each["id"], "status": each["status"]} for each in data["cells"]]
    return _poison({key: data[key] for key in ("run", "status", "preset", "model")}) | {
        "groups": groups,
        "cells": cells,
        "pareto": data["pareto"],
        "recommended": _poison(data["recommended"]),
        "not_known": _poison(data["not_known"]),
        "against_seed": _poison(data["against_seed"]),
        "plan": data["plan"],
    }

"""The dashboard in a real browser: pages show, the viewer stands where the finding is, nothing leaves this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from processes import command, diffuscope, environment
from small_folders import BF16, BREAKS, FP8, HOSTILE, INT8, OOM, hostile_run
from test_command import wait_for

from dashboards.navigation import ENTRIES
from profiler.cli.dashboard import _free_port
from profiler.tables.hta import installed

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here (apt-get install chromium, or set CHROMIUM)")
TIMEOUT_MS = 60_000
CPU = "recorded-on-the-cpu"
PAGES = ("diagnosis", "kernels", "timeline", "compile", "memory", "compare")
STANDS_AT = """(() => {
  const trace = window.app.trace, span = trace.timeline.visibleWindow.toTimeSpan();
  return [span.start, span.end, trace.selection.selection.ts].map(String);
})()"""


@pytest.fixture(scope="module")
def runs_folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kept runs, one with a graph break, one recorded here on the CPU, one that is broken, one whose names are markup."""
    folder = tmp_path_factory.mktemp("browser")
    for name in (INT8, BF16, FP8, OOM, BREAKS):
        shutil.copytree(golden / name, folder / name)
    few = ("--steps", "2", "--trace-steps", "1", "--repeats", "1", "--warmup", "1")
    done = diffuscope("record", "flux-tiny", "--device", "cpu", *few, "-o", folder / CPU, "--json")
    assert done.returncode == 0, done.stderr
    (folder / "broken" / "rank0").mkdir(parents=True)
    (folder / "broken" / "run.json").write_text("{")
    hostile_run(folder)
    return folder


@pytest.fixture(scope="module")
def address(runs_folder: Path) -> Iterator[str]:
    with serving(runs_folder) as url:
        yield url


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a dashboard on a folder."""
    port = _free_port("127.0.0.1", 0)
    arguments = command("dashboard", folder, "--port", str(port))
    child = subprocess.Popen(arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(30)


class Browser:
    """One window, with what it asked other hosts for and every error of a script."""

    def __init__(self, window: Any, address: str) -> None:
        self.window, self.address = window, address
        self.left: list[str] = []
        self.broken: list[str] = []
        window.on("request", self._asked)
        window.on("requestfailed", self._failed)
        window.on("pageerror", lambda error: self.broken.append(str(error)))

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:", "about:")):
            self.left.append(request.url)

    def _failed(self, request: Any) -> None:
        # Refused by our own policy: the browser never sent it.
        if request.failure == "csp" and request.url in self.left:
            self.left.remove(request.url)

    def open(self, path: str) -> Any:
        self.window.goto(self.address + path)
        self.settle()
        return self.window

    def settle(self) -> None:
        """Wait until the page has an answer and its script has ended."""
        self.window.wait_for_selector(".ds-answer, .ds-empty", timeout=TIMEOUT_MS)
        self.window.wait_for_function(
            "document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state') === 'notRunning'",
            timeout=TIMEOUT_MS,
        )


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        # No name resolves: a request that slips through everything else still goes nowhere.
        flags = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
        process = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        window = process.new_page(viewport={"width": 1280, "height": 900})
        window.set_default_timeout(TIMEOUT_MS)
        yield Browser(window, address)
        process.close()


def pages_of(browser: Browser, path: str, pages: Sequence[str]) -> Iterator[str]:
    """Open an address, then each page by its link in the menu: what each says; nothing is wrong with it and it fits."""
    window = browser.open(path)
    for page in pages:
        window.locator(f".st-key-menu_{page} a, .st-key-menu_{page}_here a").click()
        window.wait_for_selector(f".st-key-menu_{page}_here", state="attached")
        browser.settle()
        assert window.locator("[data-testid=stException]").count() == 0, page
        assert window.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 1280, f"{page} is too wide"
        assert browser.left == [] and browser.broken == [], page
        yield window.locator("[data-testid=stMain]").inner_text()


@pytest.mark.parametrize("run", [BF16, FP8, OOM, CPU])
def test_every_page_shows_any_run(browser: Browser, run: str):
    for said in pages_of(browser, f"/diagnosis?run={run}", PAGES):
        assert said
        assert f"run={run}" in browser.window.url


def test_a_broken_run_is_said_and_another_one_shown(browser: Browser):
    window = browser.open("/diagnosis?run=broken")
    assert "There is no run called broken here" in window.locator("[data-testid=stAlert]").inner_text()
    assert all(pages_of(browser, "/", ("runs", "diagnosis")))
    assert "broken cannot be read" in browser.open("/").locator("[data-testid=stMain]").inner_text()


def test_every_page_of_an_empty_folder_says_what_to_do(browser: Browser, tmp_path: Path):
    with serving(tmp_path) as address:
        elsewhere = Browser(browser.window.context.browser.new_page(), address)
        pages = [entry.path for entry in ENTRIES if entry.path != "import"]
        for page, said in zip(pages, pages_of(elsewhere, "/", pages), strict=True):
            assert "Run diffuscope " in said, page
        elsewhere.window.close()


def figures(window: Any) -> dict[str, str]:
    """The key figures of the page by name, with their units."""
    boxes = window.locator(".ds-kpi").all()
    return {each.locator(".k").inner_text(): each.locator(".v").inner_text() for each in boxes}


def of_json(folder: Path, command: str, run: str) -> Any:
    done = diffuscope(command, folder / run, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("run", [INT8, CPU])
def test_the_key_figures_are_those_of_json(browser: Browser, runs_folder: Path, run: str):
    expected, said = of_json(runs_folder, "diagnose", run), of_json(runs_folder, "show", run)
    window = browser.open(f"/diagnosis?run={run}")
    body, of = window.locator("[data-testid=stMain]").inner_text(), expected["window"]
    measured_us = of["untraced_us" if of["calibrated"] else "dur_us"]
    assert figures(window)[f"a {of['name']}"].startswith(f"{measured_us / 1e3:,.2f}")
    for number, each in enumerate(expected["findings"], 1):
        assert f"{number}. {each['title']}" in body
    first, whole = said["classes"][0], sum(each["total_us"] for each in said["classes"])
    answer = browser.open(f"/kernels?run={run}").locator(".ds-answer").inner_text()
    assert f"{first['class']} takes {first['share']:.0%}" in answer
    assert f"{first['total_us'] / 1e3:,.2f} of {whole / 1e3:,.2f} ms" in answer
    if said["memory"]["inference_peak_gib"]:
        memory = figures(browser.open(f"/memory?run={run}"))
        assert memory["inference peak"].startswith(f"{said['memory']['inference_peak_gib']:,.2f}")
        assert memory["model memory"].startswith(f"{said['memory']['model_gib']:,.2f}")


@pytest.mark.parametrize("page", [entry.path for entry in ENTRIES if entry.path not in ("timeline", "import") and not entry.kind])
def test_a_page_shows_without_an_exception(browser: Browser, page: str):
    window = browser.open(f"/{page}?run={INT8}")
    assert window.locator("[data-testid=stException]").count() == 0
    assert window.locator(".ds-answer").inner_text()
    width = window.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert width <= 1280, "the page is wider than the window"
    if page != "runs":
        window.wait_for_selector(".js-plotly-plot")
    assert browser.left == []
    assert browser.broken == []


@pytest.mark.skipif(not installed(), reason="the hta extra is not installed")
def test_hta_runs_on_a_click_and_stays(browser: Browser):
    window = browser.open(f"/ranks?run={BREAKS}")
    window.get_by_role("button", name="Run HTA").click()
    window.get_by_role("heading", name="beside diffuscope").wait_for()
    browser.settle()
    assert window.locator("[data-testid=stException]").count() == 0
    window = browser.open(f"/ranks?run={BREAKS}")
    assert "critical path" in window.locator("[data-testid=stMain]").inner_text()
    assert window.get_by_role("button", name="Run HTA").count() == 0
    assert browser.left == [] and browser.broken == []


def frame_of(window: Any, part: str) -> Any:
    """The one frame whose address holds `part`: its element is there before the frame has its address."""
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while len(found := [each for each in window.frames if part in each.url]) != 1:
        assert time.monotonic() < deadline, [each.url for each in window.frames]
        window.wait_for_timeout(50)
    return found[0]


def test_a_link_of_a_finding_leads_to_its_moment_in_the_viewer(browser: Browser):
    window = browser.open(f"/diagnosis?run={INT8}")
    # On the page itself the address changes too: it can be copied.
    window.get_by_role("button", name="Link to this finding").nth(1).click()
    window.wait_for_url(f"**/diagnosis?run={INT8}&finding=2")
    window.wait_for_selector(".st-key-finding_2 .ds-tag:has-text('selected')")
    window.get_by_role("link", name="Show in the timeline").first.click()
    window.wait_for_selector("iframe[src*='/trace-view']")
    assert f"run={INT8}" in window.url and "finding=1" in window.url
    shown = frame_of(window, "/trace-view")
    shown.wait_for_selector("#note.done", state="attached")
    viewer = frame_of(window, "/perfetto/")
    viewer.wait_for_function("window.app?.trace?.selection?.selection?.kind === 'track_event'")
    asked = {name: int(value[0]) for name, value in parse_qs(urlsplit(shown.url).query).items() if value[0].isdecimal()}
    start, end, slice_start = (int(each) for each in viewer.evaluate(STANDS_AT))
    # The viewer shows an eighth more on either side.
    assert start <= asked["start"] < asked["from"] < asked["to"] < asked["end"] <= end
    assert end - start < 1.3 * (asked["end"] - asked["start"])
    assert slice_start == asked["from"]
    assert browser.left == []


def test_a_graph_break_leads_to_its_moment_and_perfetto_says_what_it_flags(browser: Browser):
    window = browser.open(f"/compile?run={BREAKS}")
    window.locator(".st-key-break_0").get_by_role("link", name="Show in the timeline").click()
    window.wait_for_selector("iframe[src*='/trace-view']")
    assert "graph_break=GB0124" in window.url
    shown = frame_of(window, "/trace-view")
    shown.wait_for_selector("#flags.some, #flags.none", state="attached")
    assert "Perfetto flags 11 × slice_drop_overlapping_complete_event" in shown.locator("#flags").inner_text()
    viewer = frame_of(window, "/perfetto/")
    asked = {name: int(value[0]) for name, value in parse_qs(urlsplit(shown.url).query).items() if value[0].isdecimal()}
    start, end = (int(each) for each in viewer.evaluate(STANDS_AT.replace(", trace.selection.selection.ts", "")))
    assert start <= asked["from"] < asked["to"] <= end
    assert browser.left == []


def test_the_run_stays_from_page_to_page_and_stands_in_the_address(browser: Browser):
    window = browser.open(f"/diagnosis?run={FP8}")
    window.get_by_role("link", name="Kernels").first.click()
    window.wait_for_url(f"**/kernels?run={FP8}")
    window.get_by_role("link", name="Compare").first.click()
    window.wait_for_url(f"**/compare?run={FP8}")
    window.go_back()
    window.wait_for_url(f"**/kernels?run={FP8}")
    window.go_back()
    window.wait_for_url(f"**/diagnosis?run={FP8}")
    assert browser.broken == []


def test_markup_in_a_run_does_nothing(browser: Browser):
    for page in ("runs", "diagnosis", "kernels"):
        window = browser.open(f"/{page}?run={quote(HOSTILE)}")
        window.wait_for_timeout(300)
        assert window.evaluate("window.hacked === undefined")
        assert window.locator("img[src=x]").count() == 0
    assert browser.left == []

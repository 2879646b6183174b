"""The dashboard in a real browser: pages show, the viewer stands where the finding is, nothing leaves this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from processes import command, environment
from small_folders import FP8, HOSTILE, INT8
from test_command import wait_for

from dashboards.navigation import ENTRIES
from profiler.cli.dashboard import _free_port

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here (apt-get install chromium, or set CHROMIUM)")
TIMEOUT_MS = 60_000
STANDS_AT = """(() => {
  const trace = window.app.trace, span = trace.timeline.visibleWindow.toTimeSpan();
  return [span.start, span.end, trace.selection.selection.ts].map(String);
})()"""


@pytest.fixture(scope="module")
def address(runs_folder: Path) -> Iterator[str]:
    port = _free_port("127.0.0.1", 0)
    arguments = command("dashboard", runs_folder, "--port", str(port))
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
        self.window.wait_for_selector(".ds-answer, .ds-empty", timeout=TIMEOUT_MS)
        self.window.wait_for_function(
            "document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state') === 'notRunning'",
            timeout=TIMEOUT_MS,
        )
        return self.window


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


def test_a_link_of_a_finding_leads_to_its_moment_in_the_viewer(browser: Browser):
    window = browser.open(f"/diagnosis?run={INT8}")
    window.get_by_role("link", name="Show in the timeline").first.click()
    window.wait_for_selector("iframe[src*='/trace-view']")
    assert f"run={INT8}" in window.url and "finding=1" in window.url
    (shown,) = [each for each in window.frames if "/trace-view" in each.url]
    shown.wait_for_selector("#note.done", state="attached")
    (viewer,) = [each for each in window.frames if "/perfetto/" in each.url]
    viewer.wait_for_function("window.app?.trace?.selection?.selection?.kind === 'track_event'")
    asked = {name: int(value[0]) for name, value in parse_qs(urlsplit(shown.url).query).items() if value[0].isdecimal()}
    start, end, slice_start = (int(each) for each in viewer.evaluate(STANDS_AT))
    # The viewer shows an eighth more on either side.
    assert start <= asked["start"] < asked["from"] < asked["to"] < asked["end"] <= end
    assert end - start < 1.3 * (asked["end"] - asked["start"])
    assert slice_start == asked["from"]
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

"""How soon the dashboard's pages are interactive, in a real browser.

Usage: python benchmarks/dashboard.py [RUN ...] [--runs 20] [--turns 5] [--big RUN] [--append docs/benchmarks.md]

A folder of `--runs` copies of the given runs is served. Each turn starts a new server, waits until it answers, opens the first
page in a new browser with an empty cache, then every other page by its menu link, twice. A page is interactive when its answer is
on it, its script has ended and its figures are drawn. `--big` times the Diagnosis of one more run, once its trace was read.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_KEPT = ("flux-dev-bf16", "flux-dev-fp8dqrow-regional", "flux-dev-int8dq-regional", "flux-dev-batch64-oom")
_PAGES = ("diagnosis", "kernels", "timeline", "compile", "memory", "compare")
_RUNS_PAGE, _AGAIN = "first page, cold browser and new server", ", again"
_CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
# What the page says of itself: an answer, no script running, nothing greyed out or still to come, every figure drawn.
_READY = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  if (!document.querySelector('.ds-answer') || app.getAttribute('data-test-script-state') !== 'notRunning') return false;
  if (document.querySelector('[data-testid=stSkeleton], [data-stale=true]')) return false;
  return [...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(each => each.querySelector('.main-svg'));
}"""
Times = dict[str, list[float]]


def main() -> None:
    arguments = _arguments()
    times: Times = defaultdict(list)
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as name:
        folder = _copies(arguments.runs_given or [_ROOT / "traces" / each for each in _KEPT], Path(name), arguments.runs)
        for _ in range(arguments.turns):
            with _server(folder) as address:
                _turn(address, sorted(folder.iterdir())[0].name, times)
            if arguments.big:
                with _server(arguments.big.parent) as address:
                    _big(address, arguments.big.name, times)
            loads.append(os.getloadavg()[0])
    text = _table(times, arguments, loads)
    print(text)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as file:
            file.write("\n" + text)


def _copies(runs: list[Path], folder: Path, count: int) -> Path:
    """Copies with what was read of them already, as a folder that somebody works with has."""
    for number in range(count):
        source = runs[number % len(runs)]
        shutil.copytree(source, folder / f"{source.name}-{number // len(runs) + 1}")
    return folder


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-m", "dashboards", str(folder), "127.0.0.1", str(port)]
    child = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(30)


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


@contextmanager
def _window() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1280, "height": 900})
        window.set_default_timeout(120_000)
        yield window
        browser.close()


def _turn(address: str, run: str, times: Times) -> None:
    with _window() as window:
        times[_RUNS_PAGE].append(_timed(window, lambda: window.goto(address)))
        for again in ("", _AGAIN):
            for page in _PAGES:
                link = window.locator(f".st-key-menu_{page} a")
                times[page + again].append(_timed(window, link.click, page))


def _big(address: str, run: str, times: Times) -> None:
    with _window() as window:
        window.goto(address)
        window.wait_for_function(_READY)
        for name in ("big run's diagnosis, server started anew", "big run's diagnosis, again"):
            times[name].append(_timed(window, lambda: window.goto(f"{address}/diagnosis?run={run}")))


def _timed(window: Any, act: Any, page: str = "") -> float:
    begin = time.perf_counter()
    act()
    if page:
        window.wait_for_url(f"**/{page}*")
        window.wait_for_selector(f".st-key-menu_{page}_here", state="attached")
    window.wait_for_function(_READY)
    return time.perf_counter() - begin


def _table(times: Times, arguments: argparse.Namespace, loads: list[float]) -> str:
    machine = f"{os.cpu_count()} cores at load {min(loads):.1f} to {max(loads):.1f}, {platform.machine()}"
    head = [
        f"`python benchmarks/dashboard.py`: {arguments.runs} runs, {arguments.turns} turns ({machine}, "
        f"Python {platform.python_version()})",
        "",
        "| page | least s | median s | most s |",
        "|---|---|---|---|",
    ]
    rows = [f"| {name} | {min(of):.2f} | {statistics.median(of):.2f} | {max(of):.2f} |" for name, of in times.items()]
    return "\n".join([*head, *rows]) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs_given", metavar="RUN", nargs="*", type=Path, help="run directories (default: the kept ones)")
    parser.add_argument("--runs", type=int, default=20, help="runs in the folder")
    parser.add_argument("--turns", type=int, default=5, help="servers started")
    parser.add_argument("--big", type=Path, help="the run of a large trace, alone in its folder")
    parser.add_argument("--append", type=Path, help="a Markdown file to add the table to")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""The HTML report of a sweep: its numbers are those of `show --json`, every cell is there, the line is the front."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sweep_folders import KEPT, TRACES, cell, kept_sweep, manifest, spec, sweep_json, write_run
from test_html_report import assert_asks_for_nothing, said

from profiler.report.html_points import Point, points
from profiler.report.html_sweep import page
from profiler.report.sweep import sweep_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not all((TRACES / name).is_dir() for name in KEPT.values()):
        pytest.skip("no kept runs in traces/")
    folder = tmp_path_factory.mktemp("sweep") / "flux"
    kept_sweep(folder)
    return folder


def test_the_kept_runs_with_the_seed_beside_them(folder: Path):
    data = sweep_data(folder, against="seed")
    markup = page(data)
    text = said(markup)
    assert_asks_for_nothing(markup)
    assert re.findall(r"<h1>(.*?)</h1>", markup)[0].startswith("Fastest: fp8dqrow-regional: 2.978 s (1.32 times as fast as")
    assert "4 of 5 went well" in text and "flux-dev, batch 1, 28 steps, 1024x1024, NVIDIA H100 80GB HBM3" in text
    ranked = sorted((each for each in data["cells"] if each["time_s"]), key=lambda each: each["time_s"])
    assert len(ranked) == 4
    for number, each in enumerate(ranked, 1):
        sizes = " ".join(f"{each[key]:.2f}" for key in ("inference_peak_gib", "model_memory_gib", "load_peak_gib"))
        front = "* " if each["pareto"] else ""
        assert f"{front}{number} {each['id']} {each['spec']['scheme']} {each['time_s']:.3f} {sizes}" in text
    for each in data["recommended"]:
        assert f"{each['what']} {each['text']}" in text
    for each in data["against_seed"]["rows"]:
        assert f"{each['id']} {each['time_s']:.3f} {each['seed_time_s']:.3f} {each['time_ratio']:.2f}" in text
        assert all(cause["text"] in text for cause in each["causes"])
    assert "bf16-none-b64 oom CUDA out of memory. Tried to allocate 16.00 GiB." in text


def test_an_unfinished_sweep_with_extrapolated_times(tmp_path: Path):
    parts = {"from_steps": [4, 8], "fixed_ms": 1000.0, "step_ms": 100.0, "error_ms": 50.0}
    write_run(tmp_path / "s" / "a", manifest(spec("int8wo")))
    write_run(tmp_path / "s" / "b", manifest(spec("fp8wo", steps=8)))
    cells = [
        cell("a", spec("int8wo")),
        cell("b", spec("fp8wo", steps=8), extrapolated=parts),
        cell("c", spec(), "queued", run=None),
    ]
    sweep_json(tmp_path / "s", cells)
    text = said(page(sweep_data(tmp_path / "s")))
    assert "~3.800 ±0.050" in text and "c queued" in text and "2 of 3 went well" in text
    beside = said(page(sweep_data(tmp_path / "s", against="seed")))
    assert "b ~3.800 " in beside.partition("Against the seed")[2]


def test_a_sweep_that_has_not_begun(tmp_path: Path):
    sweep_json(tmp_path / "s", [cell("a", spec(), "queued", run=None)])
    assert "0 of 1 cells went well" in re.findall(r"<h1>(.*?)</h1>", page(sweep_data(tmp_path / "s")))[0]


def test_the_line_joins_what_nothing_beats_in_both():
    every = [
        Point(1, 3.0, 20.0, "#111111", "a", ringed=True),
        Point(2, 2.0, 30.0, "#222222", "b"),
        Point(3, 3.5, 25.0, "#333333", "c"),
    ]
    drawn = points(every, "s a call", "peak, GiB")
    (line,) = re.findall(r'<path d="(M[^"]*)" class="front"', drawn)
    places = {number: (x, y) for x, y, number in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"[^>]*>.*?>(\d)</text>', drawn)}
    (x1, y1), (x2, y2) = ([float(each) for each in places[number]] for number in "12")
    assert line == f"M{x2:.1f} {y2:.1f}H{x1:.1f}V{y1:.1f}"
    assert x1 > x2 and y1 > y2, "less is further left and lower"
    assert drawn.count('stroke="var(--ink)"') == 1
    assert {"s a call", "peak, GiB"} <= set(re.findall(r">([^<]+)</text>", drawn))
    assert points([], "x", "y") == ""

"""The HTML report on every kind of run: its numbers are those of `--json`, what a run lacks is named, it asks for nothing."""

from __future__ import annotations

import html
import json
import re
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "metrics"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "metrics/memory"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rules"))

from memory_runs import Call
from memory_tape import MIB
from small_runs import NVJET, busy, write_run
from test_html_tags import Seen
from test_tune_report import FOUND, run_of

from profiler.core.units import format_size
from profiler.report.compare import compare_data
from profiler.report.compare_words import signed
from profiler.report.diagnose import diagnose
from profiler.report.diagnose import to_json as diagnosis_json
from profiler.report.html import page
from profiler.report.html_columns import COLUMNS, highest
from profiler.report.html_data import gather
from profiler.report.html_ledger import groups, shown
from profiler.report.memory import memory_data
from profiler.report.show import show_data
from profiler.rundir.manifest import Failure, Manifest, Phase
from profiler.tables.run import Run

TRACES = Path(__file__).resolve().parents[2] / "traces"
INT8, BF16, OOM, BREAK = "flux-dev-int8dq-regional", "flux-dev-bf16", "flux-dev-batch64-oom", "clinic-item-in-block"


def said(markup: str) -> str:
    """All text of a page, in one line, without its style sheet."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", markup, flags=re.DOTALL))).split())


def plain(value: Any) -> Any:
    """As it comes out of `--json`."""
    return json.loads(json.dumps(value))


def golden(name: str) -> Run:
    if not (TRACES / name / "run.json").is_file():
        pytest.skip(f"no {name} in traces/")
    return Run.open(TRACES / name)


@pytest.fixture(scope="module")
def int8() -> str:
    return page(gather(golden(INT8), golden(BF16)))


@pytest.fixture(scope="module")
def oom() -> str:
    return page(gather(golden(OOM)))


def assert_asks_for_nothing(markup: str) -> None:
    """No element that loads or runs anything, no address but those of the page itself and of pages to read."""
    elements = Seen(re.sub(r"<style>.*?</style>", "", markup, flags=re.DOTALL)).elements
    assert len(elements) > 20
    names = {name for name, _ in elements}
    assert not names & {
        "script",
        "img",
        "image",
        "iframe",
        "object",
        "embed",
        "link",
        "use",
        "form",
        "base",
        "video",
        "audio",
        "foreignobject",
    }
    for name, given in elements:
        assert not [key for key in given if key.startswith("on") or key in ("src", "srcset", "xlink:href", "action", "ping")], (
            given
        )
        if "href" in given:
            assert name == "a" and str(given["href"]).startswith(("#", "https://"))
        assert "url(" not in (given.get("style") or "")
    style = "".join(re.findall(r"<style>(.*?)</style>", markup, re.DOTALL))
    assert "url(" not in style and "@import" not in style


def test_the_findings_are_those_of_diagnose(int8: str):
    expected = plain(diagnosis_json(diagnose(golden(INT8), golden(BF16))))
    text = said(int8)
    assert len(expected["findings"]) > 5
    for number, each in enumerate(expected["findings"], 1):
        assert f"{number}. {' '.join(each['title'].split())}" in text
        assert f"{each['cost_us'] / 1e3:,.2f} ms" in text
        assert (
            f"saves {each['saving_us']['low'] / 1e3:,.2f} to {each['saving_us']['high'] / 1e3:,.2f} ms" in text
            or not each["cost_us"]
        )
        assert " ".join(each["change"].split()) in text
        for line in each["evidence"]:
            assert " ".join(line.split()) in text
    for number, each in enumerate(expected["memory"]["findings"], 1):
        assert f"m{number}. {each['title']}" in text
        assert format_size(each["saving_bytes"]["high"]) in text
    for each in expected["not_checked"]:
        assert each["rule"] in text and each["why"] in text
    assert f"{expected['window']['untraced_us'] / 1e3:,.2f} ms untraced" in text
    assert f"{expected['floor']['ratio']:.2f} × its floor of {expected['floor']['floor_us'] / 1e3:,.1f} ms" in text


def test_the_ledger_is_that_of_diagnose_and_sums_to_the_step(int8: str):
    expected = plain(diagnosis_json(diagnose(golden(INT8), golden(BF16))))
    made, text = groups(expected["ledger"]), said(int8)
    assert sum(each.total_ms for each in made) == pytest.approx(expected["window"]["dur_us"] / 1e3, rel=1e-9)
    assert sum(each.priced_ms for each in made) == pytest.approx(expected["window"]["untraced_us"] / 1e3, rel=1e-6)
    for each in made:
        assert f"{each.label} {each.kind} {each.count:,.0f} {each.total_ms:,.3f} {each.priced_ms:,.3f}" in text
    # The bar is the step: its parts are as wide as the figure.
    (bar,) = re.findall(r'<svg[^>]*aria-label="where a step goes".*?</svg>', int8, re.DOTALL)
    widths = [float(each) for each in re.findall(r'class="box"[^>]* width="([\d.]+)"', bar)]
    assert sum(widths) == pytest.approx(1120, abs=2)


def test_labels_too_short_for_the_bar_are_one():
    sizes = {"a": 1000.0, "b": 3.0, "c": 2.0}
    rows = [{"kind": "busy", "label": name, "priced_us": size, "total_us": size, "count": 1} for name, size in sizes.items()]
    rows.append({"kind": "idle", "label": "wait", "priced_us": 1.0, "total_us": 2.0, "count": 4})
    made = shown(groups(rows))
    assert [(each.kind, each.label, each.count) for each in made] == [
        ("busy", "a", 1),
        ("busy", "other, busy", 2),
        ("idle", "wait", 4),
    ]
    assert sum(each.priced_ms for each in made) == pytest.approx(1.006)


def test_the_kernels_are_those_of_show(int8: str):
    expected, text = plain(show_data(golden(INT8))), said(int8)
    for each in expected["classes"]:
        assert f"{each['total_us'] / 1e3:,.3f} ms, {each['share']:.1%}, {each['count']:,} times" in text
    for each in expected["kernels"][:25]:
        assert f"{each['class']} {each['count']:,} {each['total_us']:,.1f} {each['mean_us']:,.1f} {each['share']:.1%}" in text
    rest = expected["kernels"][25:]
    assert f"{len(rest)} more (diffuscope show --top N) {sum(each['count'] for each in rest):,}" in text
    assert f"busy, {expected['trace']['total_us'] / 1e3:,.2f} ms" in text
    for size, name in ((expected["memory"][key], key) for key in ("model_gib", "inference_peak_gib", "load_peak_gib")):
        assert f"{name.removesuffix('_gib').replace('_', ' ').replace('model', 'model memory')} {size:,.2f} GiB" in text
    assert f"{expected['timed']['median_ms'] / 1e3:,.3f} s" in text
    for each in expected["lost"]["items"]:
        assert f"{each['count']:,} {each['what']} {each['why']}" in text
    for each in expected["phases"]:
        assert (
            f"{each['name']} {each['start_ms']:,.1f} {each['dur_ms']:,.1f} {each['alloc_gib']:,.3f} {each['peak_gib']:,.3f}"
            in text
        )


def test_the_memory_is_that_of_memory(int8: str):
    for part in ("memory", "load"):
        expected, text = plain(memory_data(golden(INT8), part)), said(int8)
        peak = expected["peak"]
        assert f"{format_size(peak['requested_bytes'])} requested" in text or part == "load"
        assert f"peak {format_size(peak['requested_bytes'])}" in text
        for name, size in peak["by_category"].items():
            assert f"{name} {format_size(size)} at the peak" in text
    for each in memory_data(golden(INT8))["peak"]["rows"][:10]:
        assert format_size(each["size_bytes"]) in text


def test_the_timeline_keeps_the_peak_and_its_columns_conserve():
    found = gather(golden(INT8)).memory
    assert found is not None
    sums = [sum(values) for values in zip(*(found.live_bytes[name] for name in found.labels), strict=True)]
    assert len(sums) == len(found.times_ms) == COLUMNS + 1
    peak = found.data["peak"]
    assert max(sums) == peak["requested_bytes"] == sum(found.held.values())
    at = (peak["time_us"] - found.data["timeline"]["start_us"]) / 1e3
    column = max(range(len(sums)), key=lambda number: sums[number])
    assert found.times_ms[column] <= at <= found.times_ms[column + 1]
    # Each column of the text chart is the highest of several of these.
    assert max(found.data["timeline"]["total"]) == max(sums)
    assert all(found.always[name] <= min(found.live_bytes[name]) for name in found.labels)


def test_a_column_is_as_high_as_what_the_one_before_left_and_an_empty_one_too():
    # Column 0 rises to 9 and falls to 4; column 1 rises to 3 at most; nothing happens in column 2.
    wide = pl.DataFrame({"live": [4, 9, 4, 1, 3, 2], "slot": [0, 0, 0, 1, 1, 3]})
    rows = highest(wide)
    assert (len(rows), rows[:5]) == (COLUMNS, [1, 2, 4, 4, 5])
    assert [wide["live"][row] for row in rows[:5]] == [9, 4, 3, 3, 2]


def test_the_comparison_is_that_of_compare(int8: str):
    (expected,) = plain(compare_data([golden(BF16), golden(INT8)]))["comparisons"]
    text = said(int8)
    assert len(expected["verdicts"]) == 5
    assert f"against {BF16}: " + " · ".join(f"{about} {each['kind']}" for about, each in expected["verdicts"].items()) in text
    for about, each in expected["verdicts"].items():
        assert f"{each['kind']} {about} {each['text']}" in text
    (window,) = (each for each in expected["time"]["windows"] if each["name"] == "step")
    for each in window["kernels"][:15]:
        assert f"{each['base_count']:,.0f} → {each['new_count']:,.0f} {each['base_ms']:,.3f} {each['new_ms']:,.3f}" in text
    assert f"{window['base_ms']:,.2f}" in text and f"{window['new_ms']:,.2f}" in text
    for each in window["groups"]:
        assert f"{signed(each['delta_ms'], 2)} {each['name']}" in text
    assert "earned back after 32 calls" in text
    assert "picture: " in text


def test_a_run_out_of_memory_says_so_first(oom: str):
    text = said(oom)
    first = "Out of memory in warmup: 16.000 GiB asked by vae, 12.971 GiB free on the device"
    assert re.findall(r"<h1>(.*?)</h1>", oom) == [first]
    assert "OutOfMemoryError" in text and "16.000 GiB more asked" in text and "short of 3.029 GiB" in text
    assert "kernels: " in text and "holds no rank0/trace.json.gz" in text
    assert "Where a step goes" not in text


def test_the_source_around_a_finding_is_shown_with_its_line_marked():
    markup = page(gather(golden(BREAK)))
    (hit,) = re.findall(r'<span class="hit">(.*?)</span>', markup, re.DOTALL)
    assert re.fullmatch(r" *13> +largest = hidden\.abs\(\)\.amax\(\)\.item\(\)  # planted\n", html.unescape(hit))
    assert 'href="https://meta-pytorch.github.io/compile-graph-break-site/gb/gb0124.html"' in markup
    assert "Peaks by phase" in said(markup)


def test_no_report_asks_for_anything_and_each_is_small(int8: str, oom: str):
    for markup in (int8, oom):
        assert_asks_for_nothing(markup)
        assert markup.startswith("<!doctype html>")
        assert len(markup.encode()) < 400_000
    with pytest.raises(AssertionError):
        assert_asks_for_nothing(int8.replace("</main>", '<a href="http://elsewhere">x</a></main>'))


def test_the_same_run_gives_the_same_file(oom: str):
    assert page(gather(golden(OOM))) == oom


def test_colours_are_those_of_the_palette(int8: str):
    from profiler.core import palette

    for name in ("GEMM int8", "attention", "fused reduction", "quantize/dequantize"):
        assert f'<i style="background:{palette.of_class(name)}"></i>{name}' in int8
    for name in ("weights", "activations", "workspace"):
        assert f'<i style="background:{palette.of_category(name)}"></i>{name}' in int8
    used = set(re.findall(r'fill="(#[0-9A-Fa-f]{6})"', int8))
    tables = (palette.CLASSES, palette.CATEGORIES, palette.SEVERITIES)
    known = {colour for table in tables for colour in table.values()} | {palette.of_idle(label) for label in ("a", "b", "c", "d")}
    known |= {palette.FASTER, palette.SLOWER, palette.TOTAL, "#FFFFFF", "#10151C"}
    assert used <= known


def test_an_imported_run(tmp_path: Path):
    run = write_run(tmp_path / "imported", busy([(NVJET, 999)]))
    found = gather(run)
    text = said(page(found))
    assert found.sections == ["diagnosis", "kernels"]
    assert "Nothing was found that costs time in every step" in text
    assert "no untraced time is known" in text and "GEMM bf16" in text
    assert "memory: " in text and "holds no rank0/memory.pickle.gz" in text


def test_a_run_with_memory_alone(tmp_path: Path):
    run = Call(leak=MIB).write(tmp_path / "run", spec={"steps": 3})
    text = said(page(gather(run)))
    assert "peak 0.179 GiB" in text and "weights 0.146 GiB at the peak" in text
    assert "without the" in text and "decode" in text


def test_a_tuning(tmp_path: Path):
    (tmp_path / "tuned").mkdir()
    found = gather(run_of(tmp_path / "tuned", FOUND))
    text = said(page(found))
    assert (found.sections, found.missing) == (["tuning"], [])
    assert "4608x3072x12288 hopper:block_m=128 38 300.0 1,159" in text
    assert "5x6x7 was not tuned: no kernel fits 5x6x7" in text
    assert "times as fast as torchao's eager product" in html.unescape(re.findall(r"<h1>(.*?)</h1>", page(found))[0])
    assert "untuned is torchao's eager product" in text


def test_a_tuning_that_cannot_be_read_says_why(tmp_path: Path):
    (tmp_path / "tuned").mkdir()
    found = gather(run_of(tmp_path / "tuned", "{"))
    assert [each.section for each in found.missing] == ["tuning"]
    assert "tuning: " in said(page(found))


def test_a_run_that_failed_shows_how_and_what_it_has(tmp_path: Path):
    (tmp_path / "r").mkdir()
    failure = Failure(type="ValueError", message="bad", phase="load", traceback='  File "/a/b.py", line 3, in run\n    go()\n')
    manifest = Manifest(status="failed", failure=failure, phases=[Phase(name="load", start_ns=0, end_ns=None)])
    text = said(page(gather(Run(tmp_path / "r", manifest))))
    assert "Failed in phase load: bad failed in phase load: ValueError: bad at /a/b.py:3 run: go()" in text
    assert "diagnosis: " in text and "kernels: " in text and "load 0.0 -" in text


@pytest.mark.parametrize("broken", ["trace.json.gz", "memory.pickle.gz", "sources.json"])
def test_a_broken_artifact_is_named_and_the_rest_comes(tmp_path: Path, broken: str):
    run = Call().write(tmp_path / "run", spec={"steps": 3})
    other = write_run(tmp_path / "other", busy([(NVJET, 999)]))
    other.artifact("trace.json.gz").rename(run.artifact("trace.json.gz"))
    run.artifact(broken).write_bytes(b"nothing")
    found = gather(Run(run.path, Manifest(status="ok")))
    text = said(page(found))
    if broken == "trace.json.gz":
        assert {"diagnosis", "kernels"} <= {each.section for each in found.missing}
        assert "peak 0." in text
    elif broken == "memory.pickle.gz":
        assert "memory" in {each.section for each in found.missing}
        assert "GEMM bf16" in text
    else:
        assert "GEMM bf16" in text and "peak 0." in text


def test_an_empty_manifest_breaks_nothing(tmp_path: Path):
    (tmp_path / "r").mkdir()
    found = gather(Run(tmp_path / "r", Manifest()))
    assert (found.sections, {each.section for each in found.missing}) == ([], {"diagnosis", "kernels", "memory"})
    assert_asks_for_nothing(page(found))

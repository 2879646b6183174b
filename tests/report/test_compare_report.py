"""The JSON of a comparison and its text, on the kept runs and on runs that lack everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiler.report.compare import compare_data
from profiler.report.compare_text import compare_text
from profiler.report.compare_text_runs import _drawn
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

_TRACES = Path(__file__).resolve().parents[2] / "traces"
_NAMES = ("bf16", "fp8dqrow-regional", "int8dq-regional", "batch64-oom")
pytestmark = pytest.mark.skipif(not (_TRACES / "flux-dev-bf16").is_dir(), reason="no golden runs in traces/")

COMPARISON = {
    "run",
    "base",
    "ended",
    "comparable",
    "differences",
    "shared",
    "unknown",
    "verdicts",
    "ranks",
    "scaling",
    "time",
    "memory",
    "expected",
    "quality",
}
TIME = {
    "base",
    "new",
    "delta_ms",
    "speedup",
    "spread_ms",
    "within_spread",
    "steps",
    "parts",
    "ready_ms",
    "break_even_calls",
    "windows",
    "machine",
    "not_compared",
}
ROW = {"kind", "label", "base_count", "new_count", "base_ms", "new_ms", "delta_ms", "per_call_ms", "spread_ms", "status"}
RUN = {
    "run",
    "status",
    "scheme",
    "compile",
    "ranks",
    "median_ms",
    "spread_ms",
    "repeats",
    "steps",
    "ms_per_step",
    "model_gib",
    "inference_peak_gib",
    "speedup",
    "sqnr_db",
    "comparable",
}


def _data(*names):
    runs = [Run.open(_TRACES / f"flux-dev-{name}") for name in names]
    return json.loads(json.dumps(compare_data(runs), allow_nan=False))


@pytest.fixture(scope="module")
def pair():
    return _data("bf16", "fp8dqrow-regional")


@pytest.fixture(scope="module")
def all_runs():
    return _data(*_NAMES)


def test_the_documented_keys(pair):
    assert pair.keys() == {"base", "runs", "comparisons", "timelines"}
    assert all(row.keys() == RUN for row in pair["runs"])
    (found,) = pair["comparisons"]
    assert found.keys() == COMPARISON
    assert found["time"].keys() == TIME
    assert all(row.keys() == ROW for row in found["time"]["windows"][0]["classes"])
    assert all(row.keys() == ROW | {"detail"} for row in found["time"]["windows"][0]["kernels"])
    assert pair["timelines"] == []
    documented = (Path(__file__).resolve().parents[2] / "docs" / "compare.md").read_text()
    for key in COMPARISON | TIME | ROW | RUN | {"detail", "timelines", "groups", "components", "holders"}:
        assert f"`{key}`" in documented, key


def test_rows_of_the_json_sum_to_the_windows_and_these_to_the_call(pair):
    time = pair["comparisons"][0]["time"]
    for window in time["windows"]:
        for rows in ("groups", "classes", "kernels"):
            assert sum(each["delta_ms"] for each in window[rows]) == pytest.approx(window["delta_ms"], abs=1e-9), rows
    assert sum(each["delta_ms"] for each in time["parts"]) == pytest.approx(time["delta_ms"])
    step = time["windows"][0]
    assert (step["name"], step["times_a_call"]) == ("step", 28)
    assert step["per_call_ms"] == pytest.approx(28 * step["delta_ms"])


def test_what_it_says_of_the_kept_runs(pair):
    (found,) = pair["comparisons"]
    kinds = {about: each["kind"] for about, each in found["verdicts"].items()}
    assert kinds == {"time": "real", "scheme": "real", "memory": "real", "loading": "not there", "quality": "measured"}
    assert found["comparable"] == {"time": True, "call_time": True, "memory": True}
    assert [each["what"] for each in found["differences"]] == ["scheme", "compile"]
    assert abs(found["expected"]["error"]) < 0.005
    assert found["expected"]["win_bytes"] == 11_886_059_264
    assert found["quality"]["sqnr"]["last_latents"]["db"] == pytest.approx(21.911, abs=1e-3)
    assert found["quality"]["psnr"]["db"] is None and "holds no output.png" in found["quality"]["psnr"]["why"]


@pytest.mark.parametrize("width", [40, 80, 100, 120, 300])
def test_the_text_fits_and_puts_the_verdict_first(pair, width):
    text = compare_text(pair, width=width)
    # A path is never broken.
    longest = max(len(line) for line in text.splitlines() if str(_TRACES) not in line)
    assert longest <= max(80, min(120, width))
    assert text.index("time     REAL: a call takes 2,978.2 ms, not 5,268.2, 1.77") < text.index("where the time of a call goes")
    # Names give way to width, numbers never.
    assert "\u2026" not in "".join(line[line.find("   ") :] for line in text.splitlines() if line.startswith(("  GEMM", "nvjet")))
    order = ["where the time of a call goes", "where a step goes", "kernels of a step", "memory, GiB", "at that peak, GiB"]
    order += ["peak of each window", "weights, GiB", "SQNR: ", "not compared: picture"]
    assert [text.index(each) for each in order] == sorted(text.index(each) for each in order)


def test_the_text_says_where_the_time_went(pair):
    text = compare_text(pair, top=3)
    for part in (
        "changed: scheme bf16 -> fp8dqrow, compile none -> regional",
        "GEMM fp8",
        "added",
        "a call of 28 steps, as timed",
        "nvjet_sm90_qqtst",
        "kernels more (--top N)",
        "inference peak (decode)",
        "peak since start (traced > quantize)",
        "allocator rounding",
        "Linears: 418 fp8dqrow, 86 fp8wo",
    ):
        assert part in text, part
    assert "kernels of a step" not in compare_text(pair, top=0)
    assert "where a decode goes" in compare_text(pair, window="decode")


def test_more_runs_are_one_table_and_timelines_that_lie_over_each_other(all_runs):
    assert [row["scheme"] for row in all_runs["runs"]] == ["bf16", "fp8dqrow", "int8dq", "bf16"]
    assert [row["comparable"] for row in all_runs["runs"]] == [True, True, True, False]
    assert all_runs["runs"][1]["speedup"] == pytest.approx(1.7689, abs=1e-4)
    assert all_runs["runs"][1]["ms_per_step"] == pytest.approx(2978.223 / 28, abs=1e-3)
    assert len({len(each["points"]) for each in all_runs["timelines"]}) == 1
    text = compare_text(all_runs, width=100)
    assert max(len(line) for line in text.splitlines() if str(_TRACES) not in line) <= 100
    lines = text.splitlines()
    assert lines[0].split() == [
        "run",
        "scheme",
        "call",
        "ms",
        "step",
        "ms",
        "x",
        "base",
        "model",
        "GiB",
        "peak",
        "GiB",
        "SQNR",
        "dB",
    ]
    assert "flux-dev-batch64-oom: ended oom" in text
    drawn = [line for line in lines if "▁" in line and line.startswith("flux-dev")]
    assert len({len(line) for line in drawn}) == 1
    assert "NOT COMPARABLE: batch 1 -> 64, steps 28 -> 2 differ" in text


def test_a_bar_is_lowest_at_the_lowest_and_full_at_the_highest():
    points = [{"live_bytes": each} for each in (10, 45, 80)]
    assert _drawn(points, 10, 80) == "▁▅█"
    assert _drawn(points[:1], 10, 10) == "▁"


def test_runs_that_lack_everything(tmp_path):
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        runs.append(Run(tmp_path / name, Manifest()))
    data = json.loads(json.dumps(compare_data(runs), allow_nan=False))
    text = compare_text(data)
    assert "not known to be the same: model, batch, height, width, steps, device, GPU, torch" in text
    assert {about: each["kind"] for about, each in data["comparisons"][0]["verdicts"].items()} == {
        "time": "unknown",
        "memory": "unknown",
        "quality": "not compared",
    }
    named = " ".join(text.split())
    for missing in ("time by window", "memory by category", "weights by arithmetic", "picture"):
        assert f"{missing}: " in named.partition("not compared: ")[2], missing

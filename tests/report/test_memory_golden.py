"""What is said about the memory of the kept H100 runs, by value."""

from __future__ import annotations

import polars as pl
import pytest
from kept_runs import TRACES, kept_run

from profiler.metrics.memory import timeline
from profiler.report.diagnose import diagnose
from profiler.report.memory import memory_data
from profiler.report.memory_text import memory_text
from profiler.report.show import show_data

_BF16, _FP8, _INT8, _OOM = "flux-dev-bf16", "flux-dev-fp8dqrow-regional", "flux-dev-int8dq-regional", "flux-dev-batch64-oom"
_GIB = 1 << 30

pytestmark = pytest.mark.skipif(not (TRACES / _OOM).is_dir(), reason="no kept runs in traces/")


@pytest.fixture(scope="module")
def runs():
    """The kept runs, each read once."""
    return {name: kept_run(name) for name in (_BF16, _FP8, _INT8, _OOM)}


@pytest.fixture(scope="module")
def found(runs):
    """The memory findings of each run, by rule."""
    return {name: {each.finding.rule: each for each in diagnose(run).memory.granted} for name, run in runs.items()}


_RULES = {
    _BF16: {"memory-resident", "memory-decode"},
    _FP8: {"memory-masked", "memory-left", "memory-resident", "memory-decode", "memory-fragmentation"},
    _INT8: {"memory-masked", "memory-left", "memory-resident", "memory-decode", "memory-fragmentation"},
    _OOM: {"out-of-memory"},
}


@pytest.mark.parametrize("name", _RULES)
def test_which_rules_find_something(found, name):
    assert set(found[name]) == _RULES[name]


@pytest.mark.parametrize("name", [_BF16, _FP8, _INT8])
def test_no_byte_at_the_peak_is_a_cost_twice(runs, found, name):
    """What findings hold at the peak is at most the peak; the rest is counted beside it."""
    held = sum(each.cost_bytes - each.finding.cost_bytes for each in found[name].values())
    assert 0 < held <= memory_data(runs[name])["peak"]["requested_bytes"]


@pytest.mark.parametrize(("name", "excess"), [(_FP8, 34_555_611_648 - 24_457_131_520), (_INT8, 34_159_256_064 - 24_460_197_888)])
def test_quantizing_masks_the_win(found, name, excess):
    each = found[name]["memory-masked"]
    assert (each.cost_bytes, each.finding.window, each.severity) == (excess, "quantize", "critical")
    assert each.finding.saving_low_bytes == each.finding.saving_high_bytes == excess


def test_the_text_encoder_of_the_quantized_run_stayed_in_bf16(found):
    each = found[_FP8]["memory-left"]
    assert (each.finding.count, each.cost_bytes) == (168, 9_261_023_232)
    # Half of it, less a scale of four bytes a row.
    assert 0.498 < each.finding.saving_high_bytes / each.cost_bytes < 0.5
    resident = found[_FP8]["memory-resident"]
    assert resident.shared_bytes == {"memory-left": 9_261_023_232}
    assert resident.claimed_bytes == 9_524_621_312 + 246_121_576


@pytest.mark.parametrize(("name", "left"), [(_BF16, "22.658"), (_FP8, "11.364"), (_INT8, "11.617")])
def test_what_an_offload_would_leave(found, name, left):
    """The transformer's weights and what a step holds: everything else is elsewhere then."""
    assert f"--offload model leaves a peak of {left} GiB" in found[name]["memory-resident"].finding.evidence[2]


def test_what_was_predicted_of_a_video_came_true():
    """CogVideoX-5b in int8 on the H100: `--offload model` then measured 15.22 GiB, and `--vae-tiling` a decode of 3.76."""
    report = diagnose(kept_run("cogvideox-5b-int8wo"))
    found = {each.finding.rule: each for each in report.memory.granted}
    assert "--offload model leaves a peak of 15.202 GiB" in found["memory-resident"].finding.evidence[2]
    tiled = found["memory-decode"]
    live = timeline(kept_run("cogvideox-5b-int8wo-offload")).frame
    left = live.filter(pl.col("label") == "activations")["live_bytes"].max()
    assert left / _GIB == pytest.approx(3.764, abs=0.001)
    assert tiled.finding.saving_low_bytes < tiled.cost_bytes - left < tiled.finding.saving_high_bytes


@pytest.mark.parametrize(("name", "room"), [(_BF16, 2_064_650_240), (_FP8, 2_305_869_965), (_INT8, 2_036_886_669)])
def test_decoding_is_the_peak(found, name, room):
    each = found[name]["memory-decode"]
    assert each.cost_bytes == 2_551_316_627
    assert each.finding.saving_low_bytes == round(each.cost_bytes / 2)
    assert each.finding.saving_high_bytes == min(room, round(each.cost_bytes * 0.75))


@pytest.mark.parametrize(("name", "unused"), [(_FP8, 10_968_104_960), (_INT8, 10_437_525_504)])
def test_quantizing_leaves_segments_that_no_call_uses(runs, found, name, unused):
    each = found[name]["memory-fragmentation"]
    assert each.finding.saving_low_bytes == unused
    assert memory_data(runs[name])["peak"]["free"]["unused_bytes"] == unused
    assert memory_data(runs[_BF16])["peak"]["free"]["unused_bytes"] == 0


def test_the_run_that_died(runs, found):
    each = found[_OOM]["out-of-memory"]
    assert (each.cost_bytes, each.finding.saving_high_bytes) == (16 * _GIB, 16 * _GIB - 13_926_989_824)
    assert "--vae-slicing decodes the 64 pictures one at a time" in each.finding.change
    data = memory_data(runs[_OOM])
    assert (data["covers"], data["oom"]["component"]) == ("all until it ended", "vae")
    assert data["oom"]["rows"][0]["size_bytes"] == 16 * _GIB
    assert [each["name"] for each in data["timeline"]["windows"]] == ["load", "quantize", "warmup"]


def test_show_says_where_the_peak_since_start_lies(runs):
    memory = show_data(runs[_FP8])["memory"]
    assert (memory["since_start_phase"], memory["inference_phase"]) == ("quantize", "traced")
    assert round(memory["since_start_peak_gib"], 3) == 32.182 and round(memory["inference_peak_gib"], 3) == 22.777
    assert "a call alone peaks 9.405 GiB lower" in memory["since_start"]
    assert sum(memory["at_peak"]["by_category"].values()) == pytest.approx(24_446_331_355 / _GIB)


@pytest.mark.parametrize("part", ["memory", "load"])
@pytest.mark.parametrize("name", [_BF16, _FP8, _INT8])
def test_the_timeline_reaches_the_peak(runs, name, part):
    data = memory_data(runs[name], part)
    timeline, peak = data["timeline"], data["peak"]
    assert max(timeline["total"]) == peak["requested_bytes"] == peak["counted_bytes"]
    slots = range(timeline["slots"])
    # Labels need not have their highest at once, but in no stretch can the total be above their sum.
    assert all(timeline["total"][slot] <= sum(each["bytes"][slot] for each in timeline["labels"]) for slot in slots)
    text = memory_text(data, 100)
    assert max(map(len, text.split("\n")[1:])) <= 100
    assert ("in quantize" if part == "load" and name != _BF16 else "") in text


def test_steps_of_the_kept_runs_are_too_few_for_a_leak(runs):
    assert dict(diagnose(runs[_BF16]).not_checked)["memory-leak"] == "no memory events of three steps"

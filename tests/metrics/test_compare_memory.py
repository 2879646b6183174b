"""Memory of two runs: phases, the peak by category, windows; timelines laid over each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler.metrics.compare import compare_all
from profiler.metrics.compare_memory import (
    INFERENCE,
    MODEL,
    QUANTIZE,
    ROUNDING,
    SINCE_START,
    Bytes,
    compare_memory,
    memory_of,
    window_name,
)
from profiler.metrics.compare_timelines import STRETCHES, overlay
from profiler.rundir.manifest import Manifest, Phase
from profiler.tables.run import Run

_TRACES = Path(__file__).resolve().parents[2] / "traces"
_GOLDEN = pytest.mark.skipif(not (_TRACES / "flux-dev-bf16").is_dir(), reason="no golden runs in traces/")


def _golden(*names):
    return [Run.open(_TRACES / f"flux-dev-{name}") for name in names]


def _bare(folder, **sizes):
    folder.mkdir()
    phases = [Phase(name=name, start_ns=0, end_ns=1, alloc_bytes=size, peak_bytes=size) for name, size in sizes.items()]
    return Run(folder, Manifest(phases=phases))


def test_without_events_the_manifests_phases_stand_and_the_rest_says_why(tmp_path):
    base, new = _bare(tmp_path / "base", load=10, quantize=12, traced=15), _bare(tmp_path / "new", load=10, quantize=6)
    found = compare_memory(memory_of(new), memory_of(base))
    assert found.phase(MODEL) == Bytes(MODEL, 12, 6)
    assert found.phase(MODEL).delta == -6
    assert (found.phase(INFERENCE).base, found.phase(INFERENCE).new, found.phase(INFERENCE).delta) == (15, None, None)
    assert found.phase(SINCE_START) == Bytes(SINCE_START, 15, 10, "traced", "load")
    assert (found.peak, found.windows, found.holders) == ([], {}, ("", ""))
    assert found.not_compared.startswith("no memory snapshot (")


def test_steps_are_one_window():
    assert (window_name("step/12"), window_name("decode"), window_name("")) == ("step", "decode", "")


@_GOLDEN
def test_bf16_against_fp8dqrow_to_the_byte():
    base, new = (memory_of(run) for run in _golden("bf16", "fp8dqrow-regional"))
    found = compare_memory(new, base)
    assert found.phase(MODEL).delta == 21_865_020_416 - 33_752_128_000
    assert found.phase(INFERENCE) == Bytes(INFERENCE, 36_344_239_104, 24_457_131_520, "decode", "decode")
    assert found.phase(QUANTIZE).delta == 803_483_648
    assert found.phase(SINCE_START) == Bytes(SINCE_START, 36_344_239_104, 34_555_611_648, "traced", "quantize")
    # The rows of the peak are the allocator's own peak, rounding and all.
    assert sum(each.base for each in found.peak) == 36_344_239_104
    assert sum(each.new for each in found.peak) == 24_457_131_520
    rows = {each.name: each.delta for each in found.peak}
    assert rows["weights"] == -11_886_059_264
    assert rows["activations"] == 0
    assert abs(rows[ROUNDING]) < 2 << 20
    assert found.holders[0] == found.holders[1]
    assert "workspace of vae" in found.holders[1]


@_GOLDEN
def test_each_window_by_category():
    base, new = (memory_of(run) for run in _golden("bf16", "fp8dqrow-regional"))
    found = compare_memory(new, base)
    assert list(found.windows) == ["text", "step", "decode"]
    sums = {name: (sum(each.base for each in rows), sum(each.new for each in rows)) for name, rows in found.windows.items()}
    assert sums["decode"] == (36_332_390_619, 24_446_331_355)
    assert sums["step"] == (34_267_141_198, 22_140_461_390)
    step = {each.name: each for each in found.windows["step"]}
    assert (step["activations"].base, step["activations"].new) == (486_591_492, 245_970_948)


@_GOLDEN
def test_a_run_that_died_is_compared_as_far_as_it_came():
    (found,) = compare_all(_golden("bf16", "batch64-oom"))
    assert found.memory.phase(INFERENCE).new is None
    assert found.memory.phase(SINCE_START).new == 64_898_138_112
    assert found.memory.phase(SINCE_START).new_where == "warmup"
    assert sum(each.new for each in found.memory.peak) == 64_898_138_112
    assert found.windows == {} and "holds no rank0/trace.json.gz" in found.windows_why
    assert [each.what for each in found.spoils("memory")] == ["batch"]


@_GOLDEN
def test_timelines_lie_over_each_other():
    found = overlay(_golden("bf16", "fp8dqrow-regional"))
    for each, peak in zip(found, (36_332_390_619, 24_446_331_355), strict=True):
        stretches = [point["stretch"] for point in each.points]
        assert [stretches.count(name) for name in STRETCHES] == list(STRETCHES.values())
        assert max(point["live_bytes"] for point in each.points) == peak
        times = [point["time_ms"] for point in each.points]
        assert times[0] == 0 and times == sorted(times)
        assert (each.lower_bound, each.not_compared) == (None, None)
    decode = [point["live_bytes"] for point in found[0].points if point["stretch"] == "decode"]
    assert max(decode) == 36_332_390_619


def test_a_run_without_memory_events_has_no_timeline(tmp_path):
    (found,) = overlay([_bare(tmp_path / "run")])
    assert found.points == [] and found.not_compared

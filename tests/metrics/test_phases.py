"""Phases, times and peaks from a manifest."""

from __future__ import annotations

import pytest

from profiler.metrics import phases
from profiler.rundir.manifest import Manifest, Phase

_GIB = 1 << 30


def _phase(name, start_ms, end_ms, alloc=None, peak=None):
    end = None if end_ms is None else end_ms * 1_000_000
    return Phase(name=name, start_ns=start_ms * 1_000_000, end_ns=end, alloc_bytes=alloc, peak_bytes=peak)


def test_phases_count_from_the_first_start():
    manifest = Manifest(phases=[_phase("load", 1000, 3000, 2 * _GIB, 3 * _GIB), _phase("warmup", 3500, None)])
    first, second = phases.phases(manifest)
    assert (first.start_ms, first.dur_ms, first.alloc_gib, first.peak_gib) == (0.0, 2000.0, 2.0, 3.0)
    assert (second.start_ms, second.dur_ms, second.alloc_gib) == (2500.0, None, None)


@pytest.mark.parametrize(
    ("iterations", "expected"), [([3e6, 1e6, 2e6], (2.0, 2.0, 3)), ([4e6, 2e6], (3.0, 2.0, 2)), ([], (None, None, 0))]
)
def test_median_and_spread(iterations, expected):
    timed = phases.timed(Manifest(timed={"iterations_ns": iterations}))
    assert (timed.median_ms, timed.spread_ms, timed.repeats) == expected


@pytest.mark.parametrize("timed", [{}, {"iterations_ns": None}, {"iterations_ns": []}])
def test_times_that_are_absent_are_none(timed):
    assert phases.timed(Manifest(timed=timed)) == phases.Timed(None, None, 0)


def test_peaks_are_kept_apart_by_phase():
    manifest = Manifest(
        phases=[
            _phase("load", 0, 1, 31 * _GIB, 32 * _GIB),
            _phase("quantize", 1, 2, 20 * _GIB, 33 * _GIB),
            _phase("timed", 2, 3, 20 * _GIB, 40 * _GIB),
            _phase("traced", 3, 4, 20 * _GIB, 22 * _GIB),
        ]
    )
    assert phases.memory(manifest) == phases.Memory(20.0, 33.0, 22.0)


def test_model_memory_is_of_the_load_where_nothing_was_quantized():
    assert phases.memory(Manifest(phases=[_phase("load", 0, 1, 5 * _GIB, 6 * _GIB)])) == phases.Memory(5.0, 6.0, None)


@pytest.mark.parametrize(
    ("names", "expected"), [(["timed"], 1.0), (["timed", "memory"], 2.0), (["timed", "memory", "traced"], 3.0)]
)
def test_the_inference_peak_falls_back(names, expected):
    peaks = {"timed": _GIB, "memory": 2 * _GIB, "traced": 3 * _GIB}
    manifest = Manifest(phases=[_phase(name, 0, 1, 0, peaks[name]) for name in names])
    assert phases.memory(manifest).inference_peak_gib == expected


def test_a_cpu_run_has_no_memory():
    assert phases.memory(Manifest(phases=[_phase("load", 0, 1), _phase("traced", 1, 2)])) == phases.Memory(None, None, None)


def test_the_recording_factor():
    assert phases.recording_factor(Manifest(untraced={"dur_ns": 100}, traced={"dur_ns": 110})) == pytest.approx(1.1)
    assert phases.recording_factor(Manifest(untraced={"dur_ns": 0}, traced={"dur_ns": 110})) is None
    assert phases.recording_factor(Manifest(traced={"dur_ns": 110})) is None

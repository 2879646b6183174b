"""Peaks by phase, from `run.json` alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory_tape import phase, write_run

from profiler.metrics.memory import memory_summary
from profiler.tables.run import Run

_TRACES = Path(__file__).resolve().parents[3] / "traces"
_GIB = 1 << 30


def _run(tmp_path, *phases):
    return write_run(tmp_path / "run", phases=list(phases))


def _phase(name, alloc, peak):
    return phase(name, 1, 2, alloc_bytes=alloc, peak_bytes=peak, peak_requested_bytes=peak and peak - 3)


def test_peaks_are_kept_apart_and_the_peak_since_start_is_explained(tmp_path):
    run = _run(
        tmp_path,
        _phase("load", 70, 75),
        _phase("quantize", 40, 90),
        _phase("warmup", 42, 60),
        _phase("timed", 42, 50),
        _phase("traced", 42, 51),
        # After the inference: no part of a peak until then.
        _phase("places", 42, 500),
        _phase("memory", 42, 52),
    )
    found = memory_summary(run)
    assert (found.model_bytes, found.load_peak_bytes, found.quantize_peak_bytes, found.warmup_peak_bytes) == (40, 75, 90, 60)
    assert (found.inference_peak_bytes, found.inference_phase) == (51, "traced")
    assert (found.since_start_peak_bytes, found.since_start_phase, found.since_start_is_inference) == (90, "quantize", False)
    assert [each.name for each in found.phases][:2] == ["load", "quantize"]
    assert found.phases[0].rounding_bytes == 3


def test_where_the_inference_is_the_highest_it_is_the_peak_since_start(tmp_path):
    found = memory_summary(_run(tmp_path, _phase("load", 70, 75), _phase("warmup", 70, 80), _phase("memory", 70, 80)))
    assert (found.since_start_phase, found.since_start_is_inference, found.inference_phase) == ("memory", True, "memory")


def test_a_run_that_died_before_its_inference_has_the_peak_until_then(tmp_path):
    found = memory_summary(_run(tmp_path, _phase("load", 70, 75), phase("warmup", 3, None, peak_bytes=99)))
    assert (found.inference_peak_bytes, found.inference_phase, found.since_start_is_inference) == (None, "", None)
    assert (found.since_start_peak_bytes, found.since_start_phase, found.model_bytes) == (99, "warmup", 70)


def test_a_run_on_a_cpu_has_no_peaks(tmp_path):
    found = memory_summary(_run(tmp_path, _phase("load", None, None), _phase("memory", None, None)))
    assert (found.since_start_peak_bytes, found.since_start_phase, found.inference_phase) == (None, "", "")
    assert found.phases[0].rounding_bytes is None
    assert memory_summary(write_run(tmp_path / "empty")).phases == ()


@pytest.mark.skipif(not (_TRACES / "flux-dev-fp8dqrow-regional").is_dir(), reason="no kept runs in traces/")
def test_the_peak_of_a_quantized_flux_since_start_is_that_of_quantizing():
    """The seed's 31.6 GiB for a quantized Flux is the peak of loading and quantizing; its inference peaks lower."""
    quantized = memory_summary(Run.open(_TRACES / "flux-dev-fp8dqrow-regional"))
    assert quantized.since_start_phase == "quantize"
    assert quantized.since_start_peak_bytes / _GIB == pytest.approx(32.18, abs=0.01)
    assert quantized.inference_peak_bytes / _GIB == pytest.approx(22.78, abs=0.01)
    plain = memory_summary(Run.open(_TRACES / "flux-dev-bf16"))
    assert plain.since_start_is_inference
    assert plain.since_start_peak_bytes == plain.inference_peak_bytes

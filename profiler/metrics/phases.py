"""What the manifest says about time and memory, in the units that people read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from profiler.core.units import gib, ms
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest, Phase


@dataclass(frozen=True)
class PhaseRow:
    """One phase. `start_ms` counts from the first phase's start; `dur_ms` is None while, or where, the phase never ended."""

    name: str
    start_ms: float
    dur_ms: float | None
    alloc_gib: float | None
    peak_gib: float | None


@dataclass(frozen=True)
class Timed:
    """The timed iterations: median, and spread (longest minus shortest)."""

    median_ms: float | None
    spread_ms: float | None
    repeats: int


@dataclass(frozen=True)
class Memory:
    """GiB, None on a CPU: allocated after load and quantize; peak of these two; peak of the traced call alone."""

    model_gib: float | None
    load_peak_gib: float | None
    inference_peak_gib: float | None


def phases(manifest: Manifest) -> list[PhaseRow]:
    """The phases in the order in which they were entered."""
    first = min((each.start_ns for each in manifest.phases), default=0)
    return [_row(each, first) for each in manifest.phases]


def _row(phase: Phase, first_ns: int) -> PhaseRow:
    dur_ns = None if phase.end_ns is None else phase.end_ns - phase.start_ns
    start_ms = (phase.start_ns - first_ns) / 1e6
    return PhaseRow(phase.name, start_ms, ms(dur_ns), gib(phase.alloc_bytes), gib(phase.peak_bytes))


def timed(manifest: Manifest) -> Timed:
    """Median and spread of the timed iterations; None where there is none."""
    iterations = [each for each in _list(manifest.timed.get("iterations_ns")) if isinstance(each, int | float)]
    if not iterations:
        return Timed(None, None, 0)
    return Timed(ms(median(iterations)), ms(max(iterations) - min(iterations)), len(iterations))


def memory(manifest: Manifest) -> Memory:
    """Model memory, load peak and inference peak, each from the phase that defines it."""
    loaded = manifest.phase(layout.QUANTIZE) or manifest.phase(layout.LOAD)
    loading = [manifest.phase(name) for name in (layout.LOAD, layout.QUANTIZE)]
    calls = [manifest.phase(name) for name in (layout.TRACED, layout.MEMORY_PHASE, layout.TIMED)]
    load_peaks = _peaks(loading)
    return Memory(
        model_gib=gib(loaded.alloc_bytes) if loaded else None,
        load_peak_gib=gib(max(load_peaks)) if load_peaks else None,
        inference_peak_gib=gib(next(iter(_peaks(calls)), None)),
    )


def recording_factor(manifest: Manifest) -> float | None:
    """How much longer the traced call took than the untraced one of the same length; None where either is unknown."""
    untraced, traced = (each.get("dur_ns") for each in (manifest.untraced, manifest.traced))
    if not isinstance(untraced, int | float) or not isinstance(traced, int | float) or untraced <= 0:
        return None
    return traced / untraced


def _peaks(found: Iterable[Phase | None]) -> list[int]:
    return [each.peak_bytes for each in found if each is not None and each.peak_bytes is not None]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

"""What the manifest says about time and memory, in the units that people read."""

from __future__ import annotations

from dataclasses import dataclass

from profiler.core.units import gib, ms
from profiler.rundir import summary
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
    found = summary.timed_ms(manifest)
    return Timed(*found) if found else Timed(None, None, 0)


def memory(manifest: Manifest) -> Memory:
    """Model memory, load peak and inference peak, each from the phase that defines it."""
    return Memory(
        model_gib=gib(summary.model_bytes(manifest)),
        load_peak_gib=gib(summary.load_peak_bytes(manifest)),
        inference_peak_gib=gib(summary.inference_peak_bytes(manifest)),
    )


def recording_factor(manifest: Manifest) -> float | None:
    """How much longer the traced call took than the untraced one of the same length; None where either is unknown."""
    untraced, traced = manifest.untraced.get("dur_ns"), manifest.traced.get("dur_ns")
    return traced / untraced if traced is not None and untraced is not None and untraced > 0 else None

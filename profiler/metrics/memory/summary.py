"""The memory peaks of a run, phase by phase, from `run.json` alone."""

from __future__ import annotations

from dataclasses import dataclass

from profiler.rundir import layout
from profiler.rundir import summary as rundir_summary
from profiler.rundir.manifest import Manifest, Phase
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

# Phases that make one call alone, in the order in which `rundir.summary` trusts them.
_INFERENCE = (layout.TRACED, layout.MEMORY_PHASE, layout.TIMED)


@dataclass(frozen=True)
class PhaseMemory:
    """One phase: bytes allocated at its end and at its peak, as the allocator rounds; None on a CPU.

    `requested_bytes` and `peak_requested_bytes` are the same as the program asked, `reserved_bytes` what was held of the device
    at its end. `end_ns` is None where the phase never ended.
    """

    name: str
    start_ns: int
    end_ns: int | None
    alloc_bytes: int | None
    peak_bytes: int | None
    requested_bytes: int | None
    peak_requested_bytes: int | None
    reserved_bytes: int | None

    @property
    def rounding_bytes(self) -> int | None:
        """What rounding adds to the phase's peak."""
        if self.peak_bytes is None or self.peak_requested_bytes is None:
            return None
        return self.peak_bytes - self.peak_requested_bytes


@dataclass(frozen=True)
class MemorySummary:
    """The peaks of a run, kept apart; bytes, None where a phase is missing or on a CPU.

    Args:
        model_bytes: allocated after load and quantize.
        load_peak_bytes: peak of loading alone.
        quantize_peak_bytes: peak of quantizing alone.
        warmup_peak_bytes: peak of the warm-up (compiling, autotuning).
        inference_peak_bytes: peak of one call alone: the traced one, else the memory phase's, else a timed one.
        inference_phase: the phase that this is of; "" where there is none.
        since_start_peak_bytes: `max_memory_allocated` since the start, as benchmarks report it: the highest of all phases up to
            and including the inference.
        since_start_phase: the phase in which that peak lies; where it is not the inference, the figure says nothing about it.
        phases: every phase in order.
    """

    model_bytes: int | None
    load_peak_bytes: int | None
    quantize_peak_bytes: int | None
    warmup_peak_bytes: int | None
    inference_peak_bytes: int | None
    inference_phase: str
    since_start_peak_bytes: int | None
    since_start_phase: str
    phases: tuple[PhaseMemory, ...]

    @property
    def since_start_is_inference(self) -> bool | None:
        """Whether the peak since start is reached by the inference itself; None where either is unknown."""
        if self.since_start_peak_bytes is None or self.inference_peak_bytes is None:
            return None
        return self.inference_peak_bytes >= self.since_start_peak_bytes


def memory_summary(run: Run, rank: int = 0) -> MemorySummary:
    """The summary of a run, of several ranks that of one; needs nothing but its manifest, or the rank's own."""
    return summarize(manifest_of(run, rank))


def summarize(manifest: Manifest) -> MemorySummary:
    """The summary of a manifest."""
    inference = next((phase for name in _INFERENCE if (phase := _measured(manifest, name))), None)
    reached = _up_to(manifest.phases, inference)
    highest = max(reached, key=lambda each: each.peak_bytes or 0, default=None)
    return MemorySummary(
        model_bytes=rundir_summary.model_bytes(manifest),
        load_peak_bytes=_peak(manifest, layout.LOAD),
        quantize_peak_bytes=_peak(manifest, layout.QUANTIZE),
        warmup_peak_bytes=_peak(manifest, layout.WARMUP),
        inference_peak_bytes=rundir_summary.inference_peak_bytes(manifest),
        inference_phase=inference.name if inference else "",
        since_start_peak_bytes=highest.peak_bytes if highest else None,
        since_start_phase=highest.name if highest else "",
        phases=tuple(_phase(each) for each in manifest.phases),
    )


def _measured(manifest: Manifest, name: str) -> Phase | None:
    phase = manifest.phase(name)
    return phase if phase and phase.peak_bytes is not None else None


def _peak(manifest: Manifest, name: str) -> int | None:
    phase = manifest.phase(name)
    return phase.peak_bytes if phase else None


def _up_to(phases: list[Phase], last: Phase | None) -> list[Phase]:
    """The measured phases until `last`, of a run without inference all of them. Of equal peaks the last phase counts."""
    end = next((number for number, each in enumerate(phases) if each is last), len(phases) - 1)
    return [each for each in reversed(phases[: end + 1]) if each.peak_bytes is not None]


def _phase(phase: Phase) -> PhaseMemory:
    return PhaseMemory(
        name=phase.name,
        start_ns=phase.start_ns,
        end_ns=phase.end_ns,
        alloc_bytes=phase.alloc_bytes,
        peak_bytes=phase.peak_bytes,
        requested_bytes=phase.requested_bytes,
        peak_requested_bytes=phase.peak_requested_bytes,
        reserved_bytes=phase.reserved_bytes,
    )

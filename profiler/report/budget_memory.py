"""Lines of a budget about memory."""

from __future__ import annotations

from collections.abc import Callable

from profiler.core.units import GIB, MIB, format_size
from profiler.metrics.memory import growth, why_lower_bound
from profiler.report.budget_measure import Measured, Subject
from profiler.rundir import layout, summary

Measure = Callable[[Subject], Measured]


def inference_peak(subject: Subject) -> Measured:
    """The peak of one call alone, as the allocator rounds."""
    found = subject.memory
    return _size(subject, found.inference_peak_bytes, "call", f"of the {found.inference_phase} call")


def load_peak(subject: Subject) -> Measured:
    """The peak of loading and quantizing; beside it that of loading alone."""
    alone = subject.memory.load_peak_bytes
    return _size(subject, summary.load_peak_bytes(subject.manifest), layout.LOAD, f"loading alone {format_size(alone)}")


def quantize_peak(subject: Subject) -> Measured:
    """The peak of quantizing alone."""
    return _size(subject, subject.memory.quantize_peak_bytes, layout.QUANTIZE)


def since_start_peak(subject: Subject) -> Measured:
    """`max_memory_allocated` since the start."""
    found = subject.memory
    return _size(subject, found.since_start_peak_bytes, "phase", f"reached in {found.since_start_phase}")


def model(subject: Subject) -> Measured:
    """What is allocated after load and quantize."""
    return _size(subject, subject.memory.model_bytes, layout.LOAD)


def step_growth(subject: Subject) -> Measured:
    """What every step leaves behind, in MiB a step."""
    found = growth(subject.run, subject.rank)
    if found.leak_bytes is None:
        return Measured(None, f"growth needs 3 steps, and the memory phase's call has {found.steps.height} (--trace-steps 3)")
    return Measured(found.leak_bytes / MIB, at_least=why_lower_bound(subject.run, subject.rank))


def _size(subject: Subject, size_bytes: int | None, phase: str, note: str = "") -> Measured:
    if size_bytes is not None:
        return Measured(size_bytes / GIB, note)
    manifest = subject.run.manifest
    if manifest.environment.get("device") == "cpu":
        return Measured(None, "peaks are counted on a CUDA device, and this run is of a CPU")
    if manifest.kind == "import":
        return Measured(None, "an import does not say what the allocator counted")
    return Measured(None, f"the run holds no measured {phase}")

"""What a planted fault is, and the registry of faults. No torch at import."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiler.core.registry import Registry
from profiler.core.spec import RunSpec

FAULTS: Registry[Fault] = Registry("fault", "profiler.clinic")

# The comment at the end of the line that a finding must point at.
MARK = "# planted"
_BUILDERS = "profiler.clinic.builders"
# As small as a recording with every phase can be; on a GPU large enough that it, and not the host, sets the pace of a clean step.
_SIZES: dict[str, dict[str, Any]] = {
    "cpu": {"height": 64, "width": 64, "steps": 2, "trace_steps": 2, "repeats": 3, "warmup": 0, "guidance": 3.5},
    "cuda": {"height": 1024, "width": 1024, "batch": 2, "steps": 8, "trace_steps": 4, "repeats": 7, "warmup": 1, "guidance": 3.5},
}

Plant = Callable[[Any], Any]
"""Changes a pipeline in place; what it returns is ignored."""


def harmless(_pipe: Any) -> None:
    """Plants nothing."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A way to make a pipeline slow, and what the diagnosis must say of it.

    Attributes:
        plant: makes the clean pipeline faulty, in place, before it is quantized and compiled.
        file: the fault's own file, where `# planted` marks the line that a finding must point at.
        expects: rules of which one must be the first finding; none for a control, which must find nothing of severity high.
        fix: what to change.
        base: the pipeline that it is planted in, by its name in `builders.BASES`.
        clean: changes the base for the run without the fault, where leaving `plant` out is not enough.
        spec: fields of the RunSpec of both runs; `clean_spec` those that only the clean run has.
        cpu_spec: fields that only a run on a CPU has.
        once: the finding is of a one-time cost: it must be the first of those.
        needs_cuda: nothing of it shows on a CPU.
        placed: whether a finding must name the planted line.
    """

    name: str
    summary: str
    plant: Plant
    file: str
    expects: tuple[str, ...]
    fix: str
    base: str = "flux"
    clean: Plant = harmless
    spec: Mapping[str, Any] = field(default_factory=dict)
    clean_spec: Mapping[str, Any] = field(default_factory=dict)
    cpu_spec: Mapping[str, Any] = field(default_factory=dict)
    once: bool = False
    needs_cuda: bool = False
    placed: bool = True

    @property
    def control(self) -> bool:
        """Whether nothing is planted."""
        return not self.expects

    def faulty_spec(self, device: str) -> RunSpec:
        """The run with the fault."""
        return self._spec(f"{_BUILDERS}:{self.name}", device, {})

    def fixed_spec(self, device: str) -> RunSpec:
        """The run without it. Faults of one base share its run: where nothing more is changed, the specs are equal."""
        own = self.clean is not harmless
        return self._spec(f"{_BUILDERS}:{f'fixed {self.name}' if own else f'clean {self.base}'}", device, self.clean_spec)

    def _spec(self, model: str, device: str, more: Mapping[str, Any]) -> RunSpec:
        fields = _SIZES[device] | dict(self.spec) | (dict(self.cpu_spec) if device == "cpu" else {}) | dict(more)
        return RunSpec(model=model, device=device, **fields)

    def place(self) -> tuple[str, int, int] | None:
        """(file, first, last): the planted line, and the first line of the function that holds it.

        A trace names a function by its first line, the compile log the line itself: a place is right from the one to the other.
        """
        if not self.placed:
            return None
        lines = Path(self.file).read_text(encoding="utf-8").splitlines()
        last = next(number for number, line in enumerate(lines, 1) if line.rstrip().endswith(MARK))
        starts = (number for number in range(last, 0, -1) if lines[number - 1].lstrip().startswith(("def ", "async def ")))
        return self.file, next(starts, last), last


def register(fault: Fault) -> Fault:
    """Make a fault known by its name."""
    return FAULTS.add(fault.name, fault)


def here() -> str:
    """The file that calls this function."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_code.co_filename

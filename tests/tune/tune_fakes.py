"""A device that the tests make up: times and faults by kernel name, and what was asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from profiler.kernels.candidate import Candidate, Shape


def candidates(*names: str) -> list[Candidate]:
    """Candidates of the given names; the space is what stands before the colon."""
    return [Candidate(name, name.partition(":")[0], {"name": name}) for name in names]


@dataclass
class FakeBench:
    """`times` in microseconds; `wrong`, `broken` (do not compile), `crashing` (when timed), `late` (wrong without a bias),
    `lucky` (the times of two calls alone)."""

    times: dict[str, float]
    wrong: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    crashing: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    lucky: dict[str, float] = field(default_factory=dict)
    timed: list[tuple[str, int]] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    def prepare(self, shape: Shape, kernels: Sequence[str], done: Callable[[], None]) -> dict[str, str]:
        for _ in kernels:
            done()
        return {each: "does not compile" for each in kernels if each in self.broken}

    def time_us(self, shape: Shape, kernel: str, repeats: int) -> float:
        self.timed.append((kernel, repeats))
        if kernel in self.crashing:
            raise RuntimeError("an illegal access")
        return self.lucky.get(kernel, self.times[kernel]) if repeats == 2 else self.times[kernel]

    def faults(self, shape: Shape, kernels: Sequence[str]) -> dict[str, str]:
        self.checked += kernels
        return {each: "7 outputs are wrong" for each in kernels if each in self.wrong}

    def last_fault(self, shape: Shape, kernel: str) -> str | None:
        return "wrong without a bias" if kernel in self.late else None

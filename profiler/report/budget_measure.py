"""What a line of a budget is, and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from profiler.metrics.memory import MemorySummary, memory_summary
from profiler.metrics.quality import Level, sqnr
from profiler.rules.context import Context
from profiler.tables.run import Run


@dataclass(frozen=True)
class Measured:
    """One number of a run.

    Args:
        value: None where it cannot be told; infinite where two outputs are equal to the bit.
        note: what a reader should know of it; where it cannot be told, why not.
        at_least: why the truth may be higher; empty where the number is whole.
    """

    value: float | None
    note: str = ""
    at_least: str = ""


class Subject:
    """A run under check, and perhaps a base run; what several lines need is computed once."""

    def __init__(self, run: Run, base: Run | None = None) -> None:
        self.run, self.base = run, base

    @cached_property
    def context(self) -> Context:
        """The run as rules see it: ledgers and their rows."""
        return Context(self.run, self.base)

    @cached_property
    def memory(self) -> MemorySummary:
        """The peaks of the run."""
        return memory_summary(self.run)

    @cached_property
    def sqnr(self) -> dict[str, Level]:
        """SQNR against the base, by tensor; empty without a base."""
        return sqnr(self.run, self.base) if self.base else {}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One kind of limit that a budget may set.

    Args:
        about: `run`, `memory`, `time`, `compile` or `quality`.
        title: its name for people.
        unit: GiB, MiB, ms, x, dB, share, or empty for counts.
        measure: reads the run; raises UnreadableInput where an artifact is missing.
        least: the limit is the least that is allowed, not the most.
        whole: only whole numbers make sense.
        most: a larger limit is a mistake of its unit.
    """

    about: str
    title: str
    unit: str
    measure: Callable[[Subject], Measured]
    least: bool = False
    whole: bool = False
    most: float | None = None

"""What a line of a budget is, and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from profiler.metrics.main_rank import main_rank
from profiler.metrics.memory import MemorySummary, memory_summary
from profiler.metrics.quality import Level, sqnr
from profiler.rules.context import Context
from profiler.rundir.manifest import Manifest
from profiler.tables.ranks import is_spread, manifest_of
from profiler.tables.run import Run

TIME = "time"
"""What a line about time is about."""


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
    """A run under check, and perhaps a base run; what several lines need is computed once.

    Args:
        rank: of several, the one that is measured; by default the first that has a trace, of one process that process.
    """

    def __init__(self, run: Run, base: Run | None = None, rank: int | None = None) -> None:
        self.run, self.base = run, base
        self._rank = rank

    @cached_property
    def rank(self) -> int:
        """The rank that is measured."""
        return self._rank if self._rank is not None else (main_rank(self.run) if is_spread(self.run) else 0)

    @cached_property
    def manifest(self) -> Manifest:
        """What the rank says of itself."""
        return manifest_of(self.run, self.rank)

    @cached_property
    def context(self) -> Context:
        """The run as rules see it: ledgers and their rows."""
        return Context(self.run, self.base, self.rank)

    @cached_property
    def memory(self) -> MemorySummary:
        """The peaks of the rank."""
        return memory_summary(self.run, self.rank)

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
        whole_run: of a run of several ranks there is one number; else each rank has its own, and the worst counts.
    """

    about: str
    title: str
    unit: str
    measure: Callable[[Subject], Measured]
    least: bool = False
    whole: bool = False
    most: float | None = None
    whole_run: bool = False

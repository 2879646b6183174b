"""A run held against a base run: times, memory, the win that arithmetic promises, quality. A missing part says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from profiler.core.errors import UnreadableInput
from profiler.metrics.compare_calls import CallDifference, compare_calls
from profiler.metrics.compare_memory import MemoryDifference, MemoryOf, compare_memory, memory_of
from profiler.metrics.compare_rows import Repeated
from profiler.metrics.compare_runs import Difference, differences, refuse_other_kinds, shared, unknown
from profiler.metrics.compare_time import WindowDifference, compare_windows, window_ledgers
from profiler.metrics.compare_weights import ExpectedWin, expected_win
from profiler.metrics.quality import Quality, quality
from profiler.tables.run import Run

T = TypeVar("T")


@dataclass(frozen=True)
class Comparison:
    """One run against its base.

    Args:
        shared: what must be the same and is; `unknown`: what must be and is not said.
        differences: in what they differ, what spoils the comparison first.
        windows: by name; empty, with `windows_why`, where a trace is missing.
        expected: None, with `expected_why`, where there is no arithmetic.
    """

    run: Run
    base: Run
    shared: dict[str, Any]
    unknown: list[str]
    differences: list[Difference]
    calls: CallDifference
    windows: dict[str, WindowDifference]
    windows_why: str
    memory: MemoryDifference
    expected: ExpectedWin | None
    expected_why: str
    quality: Quality

    def spoils(self, what: str) -> list[Difference]:
        """The differences that make `time`, `call time` or `memory` incomparable."""
        return [each for each in self.differences if what in each.spoils]


@dataclass(frozen=True)
class _Read:
    """What is read of a run once, however often it is compared."""

    run: Run
    ledgers: dict[str, Repeated]
    ledgers_why: str
    memory: MemoryOf


def compare(run: Run, base: Run) -> Comparison:
    """A run against its base."""
    return compare_all([base, run])[0]


def compare_all(runs: Sequence[Run]) -> list[Comparison]:
    """Each run but the first against the first.

    Raises:
        UsageError: one of them is no run of a pipeline: a sweep, a tuning.
    """
    for run in runs:
        refuse_other_kinds(run)
    base, *others = (_read(run) for run in runs)
    return [_compare(each, base) for each in others]


def _read(run: Run) -> _Read:
    ledgers, why = _or_why(lambda: window_ledgers(run))
    return _Read(run, ledgers or {}, why, memory_of(run))


def _or_why(make: Callable[[], T]) -> tuple[T | None, str]:
    """What `make` gives, or why it gives nothing."""
    try:
        return make(), ""
    except UnreadableInput as error:
        return None, error.message


def _compare(new: _Read, base: _Read) -> Comparison:
    windows = compare_windows(new.ledgers, base.ledgers)
    expected, expected_why = _or_why(lambda: expected_win(new.run, base.run))
    return Comparison(
        run=new.run,
        base=base.run,
        shared=shared(new.run, base.run),
        unknown=unknown(new.run, base.run),
        differences=differences(new.run, base.run),
        calls=compare_calls(new.run.manifest, base.run.manifest, windows),
        windows=windows,
        windows_why="; ".join(each.ledgers_why for each in (base, new) if each.ledgers_why),
        memory=compare_memory(new.memory, base.memory),
        expected=expected,
        expected_why=expected_why,
        quality=quality(new.run, base.run),
    )

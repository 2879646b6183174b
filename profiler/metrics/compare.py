"""A run held against a base run: times, memory, the win that arithmetic promises, quality. A missing part says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from profiler.core.errors import UnreadableInput
from profiler.metrics.compare_calls import CallDifference, compare_calls
from profiler.metrics.compare_machine import Machine, clock
from profiler.metrics.compare_memory import MemoryDifference, MemoryOf, compare_memory, memory_of
from profiler.metrics.compare_ranks import RanksOf, Scaling, ranks_of, scaling
from profiler.metrics.compare_rows import Repeated
from profiler.metrics.compare_runs import Difference, differences, refuse_other_kinds, shared, unknown
from profiler.metrics.compare_time import WindowDifference, compare_windows, window_ledgers
from profiler.metrics.compare_weights import ExpectedWin, expected_win
from profiler.metrics.host_speed import Launches, host_speed, launches
from profiler.metrics.main_rank import main_rank, slowest_calls
from profiler.metrics.quality import Quality, quality
from profiler.metrics.windows import CALL, STEP
from profiler.tables.ranks import chosen_rank, is_spread
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
        ranks: of the base and of the run: whose windows and memory are compared, and what that rank does; None for a run of one
            process.
        scaling: what more ranks bring; None where both have as many.
        machine: how fast the host launches and how the GPU clocks, which is no option's doing.
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
    ranks: tuple[RanksOf | None, RanksOf | None] = (None, None)
    scaling: Scaling | None = None
    machine: Machine = field(default_factory=Machine)

    def spoils(self, what: str) -> list[Difference]:
        """The differences that make `time`, `call time` or `memory` incomparable."""
        return [each for each in self.differences if what in each.spoils]


@dataclass(frozen=True)
class _Read:
    """What is read of a run once, however often it is compared."""

    run: Run
    rank: int
    ranks: RanksOf | None
    ledgers: dict[str, Repeated]
    ledgers_why: str
    memory: MemoryOf
    launches: dict[str, Launches]


def compare(run: Run, base: Run, rank: int | None = None) -> Comparison:
    """A run against its base; `rank` as in `compare_all`."""
    return compare_all([base, run], rank)[0]


def compare_all(runs: Sequence[Run], rank: int | None = None) -> list[Comparison]:
    """Each run but the first against the first.

    Args:
        rank: whose windows and memory, of each run of several ranks; by default that of `main_rank`.

    Raises:
        UsageError: one of them is no run of a pipeline (a sweep, a tuning), or has several ranks and not this one.
    """
    for run in runs:
        refuse_other_kinds(run)
    base, *others = (_read(run, rank) for run in runs)
    return [_compare(each, base) for each in others]


def _read(run: Run, asked: int | None) -> _Read:
    rank = main_rank(run) if asked is None or not is_spread(run) else chosen_rank(run, asked)
    ledgers, why = _or_why(lambda: window_ledgers(run, rank))
    called, _ = _or_why(lambda: launches(run, rank))
    return _Read(run, rank, ranks_of(run, rank), ledgers or {}, why, memory_of(run, rank), called or {})


def _or_why(make: Callable[[], T]) -> tuple[T | None, str]:
    """What `make` gives, or why it gives nothing."""
    try:
        return make(), ""
    except UnreadableInput as error:
        return None, error.message


def _compare(new: _Read, base: _Read) -> Comparison:
    windows = compare_windows(new.ledgers, base.ledgers)
    expected, expected_why = _or_why(lambda: expected_win(new.run, base.run, (base.rank, new.rank)))
    calls = compare_calls(slowest_calls(new.run), slowest_calls(base.run), windows)
    changed = differences(new.run, base.run)
    main = windows.get(STEP) or windows.get(CALL)
    return Comparison(
        run=new.run,
        base=base.run,
        shared=shared(new.run, base.run),
        unknown=unknown(new.run, base.run),
        differences=changed,
        calls=calls,
        windows=windows,
        windows_why="; ".join(each.ledgers_why for each in (base, new) if each.ledgers_why),
        memory=compare_memory(new.memory, base.memory),
        expected=expected,
        expected_why=expected_why,
        quality=quality(new.run, base.run),
        ranks=(base.ranks, new.ranks),
        scaling=scaling((base.run, new.run), calls, windows, changed),
        machine=Machine(host_speed(new.launches, base.launches), clock(new.run.manifest, base.run.manifest, main, changed)),
    )

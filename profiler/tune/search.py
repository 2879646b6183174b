"""The search over one shape's candidates: time all briefly, check the fastest, time the right ones again and longer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from profiler.core.errors import Refused
from profiler.kernels.candidate import Candidate, Shape

# Calls that are timed: of every candidate at first, then of the right ones, of which each round leaves the faster half.
_FIRST, _ROUNDS = 2, (7, 15, 31)
# The share of the candidates that is checked and goes on; two calls rank them only roughly, so never fewer than six.
_CHECKED, _FEWEST = 1 / 12, 6


class Bench(Protocol):
    """What a search needs of a device."""

    def prepare(self, shape: Shape, kernels: Sequence[str], done: Callable[[], None]) -> dict[str, str]:
        """Compile all kernels; gives those that cannot run, and why. `done` is called for each."""

    def time_us(self, shape: Shape, kernel: str, repeats: int) -> float:
        """The median of some calls in microseconds; raises where the kernel cannot run."""

    def faults(self, shape: Shape, kernels: Sequence[str]) -> dict[str, str]:
        """The kernels whose results are wrong, and how: at this shape, and at ragged ones that they take."""

    def last_fault(self, shape: Shape, kernel: str) -> str | None:
        """What is wrong with the kernel that would win, where it is asked for all that may be asked of it."""


@dataclass(kw_only=True)
class Found:
    """What the search over one shape found.

    Attributes:
        best: the fastest right candidate, `us` its median time.
        spaces: the fastest right candidate of each space with its time, as far as it was timed.
        failed: candidates that do not compile or run, and why.
        wrong: candidates whose results are wrong, and how; never timed again.
    """

    shape: Shape
    best: Candidate
    us: float
    candidates: int
    spaces: dict[str, tuple[Candidate, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def search(shape: Shape, candidates: Sequence[Candidate], bench: Bench, done: Callable[[], None] = lambda: None) -> Found:
    """The fastest right candidate.

    Args:
        done: called for each candidate that is compiled, and again for each that is timed first.

    Raises:
        Refused: none fits the shape, or none that does is right.
    """
    if not candidates:
        raise Refused(f"no kernel fits {shape}", "K and N in multiples of 16, and more than 16 rows, fit the most kernels")
    by_name = {each.kernel: each for each in candidates}
    failed = bench.prepare(shape, list(by_name), done)
    times: dict[str, float] = {}

    def time(names: Iterable[str], repeats: int) -> None:
        for name in names:
            try:
                times[name] = bench.time_us(shape, name, repeats)
            except Exception as error:  # noqa: BLE001 - whatever a kernel's launch raises, it is no candidate
                failed[name] = f"{type(error).__name__}: {error}"[:500]

    for name in by_name:
        time([name] if name not in failed else [], _FIRST)
        done()
    right, spaces, wrong = _check(shape, sorted(times, key=times.__getitem__), by_name, bench)
    for repeats in _ROUNDS:
        time(dict.fromkeys((*right, *spaces.values())), repeats)
        right = sorted((name for name in right if name not in failed), key=times.__getitem__)[: max(2, (len(right) + 1) // 2)]
    best = _winner(shape, right, bench, wrong)
    if best is None:
        raise Refused(f"no kernel is right for {shape}: {_first({**failed, **wrong})}", "report it with what this command wrote")
    # The two calls that chose one of each space may have been lucky ones: the winner is the fastest of its own.
    spaces[by_name[best].space] = best
    return Found(
        shape=shape,
        best=by_name[best],
        us=times[best],
        candidates=len(candidates),
        spaces={space: (by_name[name], times[name]) for space, name in spaces.items() if name not in wrong},
        failed=failed,
        wrong=wrong,
    )


def _check(
    shape: Shape, ordered: Sequence[str], by_name: Mapping[str, Candidate], bench: Bench
) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """The fastest right candidates, the fastest right one of each space, and the wrong ones met on the way.

    Wrong candidates are often the fastest: they make room for others, and take none themselves.
    """
    keep = max(_FEWEST, round(len(ordered) * _CHECKED))
    right: list[str] = []
    spaces: dict[str, str] = {}
    wrong: dict[str, str] = {}
    waiting = list(ordered)
    while waiting:
        batch = waiting[: keep - len(right)] if len(right) < keep else _next_of_each(waiting, by_name, spaces)
        if not batch:
            break
        found = bench.faults(shape, batch)
        wrong |= found
        for name in (each for each in batch if each not in found):
            spaces.setdefault(by_name[name].space, name)
            right += [name] if len(right) < keep else []
        waiting = [name for name in waiting if name not in batch]
    return right, spaces, wrong


def _next_of_each(waiting: Sequence[str], by_name: Mapping[str, Candidate], have: Mapping[str, str]) -> list[str]:
    """The fastest unchecked candidate of each space that has no right one yet."""
    first: dict[str, str] = {}
    for name in waiting:
        first.setdefault(by_name[name].space, name)
    return [name for space, name in first.items() if space not in have]


def _winner(shape: Shape, right: Sequence[str], bench: Bench, wrong: dict[str, str]) -> str | None:
    for name in right:
        why = bench.last_fault(shape, name)
        if why is None:
            return name
        wrong[name] = why
    return None


def _first(reasons: Mapping[str, str]) -> str:
    return next((f"{name}: {why}" for name, why in reversed(list(reasons.items()))), "none ran")

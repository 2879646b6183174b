"""Whole steps of several assignments, measured in turn: what sums of single Linears leave out is in them.

What is left out: quantization that Inductor fuses with what comes before it, the host's time, and the clock, which falls as
tensor cores draw power. No torch here: each assignment has a process of its own.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from profiler.core.spec import RunSpec
from profiler.plan.process import Contestant, started
from profiler.tune.progress import Progress

_ROUNDS = 5
# The first says how many steps the others need; the second warms the device up.
_UNCOUNTED = 2
# Long enough that the GPU is as warm, and its clock as low, as in a call of the pipeline.
_ROUND_US = 1.5e6
_MOST_STEPS = 100
# Getting warm takes as long as so many rounds, roughly.
_READY_UNITS = 8


def measure_steps(spec: RunSpec, layers: list[dict[str, Any]], assignments: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Measure a step of the transformer under each assignment, JSON-ready.

    Args:
        layers: module, in_features, out_features and rows of each Linear.
        assignments: name -> module -> scheme or `left`.

    Returns:
        `steps_us`: name -> microseconds of a step, one a round; `steps`: how many a round; `failed`: name -> why it has none;
        `interrupted`: whether Ctrl-C ended it, with the rounds that were whole by then.
    """
    progress = Progress(len(assignments) * _READY_UNITS + _ROUNDS + _UNCOUNTED)
    contest = _Contest(progress)
    interrupted = False
    try:
        with _interrupted_once(), contextlib.ExitStack() as stack:
            for name, schemes in assignments.items():
                contest.enter(stack, name, spec, layers, schemes)
            contest.run()
    except KeyboardInterrupt:
        interrupted = True
    progress.tell(f"whole steps: {'interrupted' if interrupted else 'done'}")
    return contest.found(assignments) | {"interrupted": interrupted}


@contextlib.contextmanager
def _interrupted_once() -> Iterator[None]:
    """Raise KeyboardInterrupt once: `timeout` sends its signal twice, and the second would take what the first has left."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    seen = False

    def interrupt(*_: object) -> None:
        nonlocal seen
        if not seen:
            seen = True
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Contest:
    """Who runs, and what is known so far."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._running: dict[str, Contestant] = {}
        self._rounds: dict[str, list[float]] = {}
        self._failed: dict[str, str] = {}
        self._steps = 0

    def enter(
        self,
        stack: contextlib.ExitStack,
        name: str,
        spec: RunSpec,
        layers: list[dict[str, Any]],
        schemes: Mapping[str, str],
    ) -> None:
        """Start one, and wait until it is warm."""
        self._progress.label(f"compiling {name}")
        why = self._entered(stack, name, spec, layers, schemes)
        if why:
            self._fail(name, why)
        for _ in range(_READY_UNITS):
            self._progress.advance()

    def _entered(
        self,
        stack: contextlib.ExitStack,
        name: str,
        spec: RunSpec,
        layers: list[dict[str, Any]],
        schemes: Mapping[str, str],
    ) -> str:
        """Why it cannot run; empty where it can."""
        try:
            process = stack.enter_context(started(spec, layers, schemes))
        except OSError as error:
            return f"its process cannot be started: {error.strerror}"
        taken = process.ready_s()
        if taken is None:
            return process.why
        self._progress.tell(f"whole steps of {name}: ready after {taken:.0f} s")
        self._running[name], self._rounds[name] = process, []
        return ""

    def _fail(self, name: str, why: str) -> None:
        self._failed[name] = why
        self._progress.tell(f"whole steps of {name}: not measured: {why}")

    def run(self) -> None:
        """Let them run in turn, those that live."""
        self._progress.label("whole steps")
        count = 2
        for number in range(_ROUNDS + _UNCOUNTED):
            for name in _turned(list(self._rounds), number):
                self._one(name, count)
            if not self._rounds:
                return
            if number == 0:
                slowest = max(each[0] for each in self._rounds.values())
                self._steps = count = max(1, min(_MOST_STEPS, round(_ROUND_US / slowest)))
                self._progress.tell(f"whole steps: {_ROUNDS} rounds of {count} steps each, in turn")
            self._progress.advance()

    def _one(self, name: str, count: int) -> None:
        us = self._running[name].step_us(count)
        if us is None:
            del self._rounds[name]
            self._fail(name, self._running[name].why)
        else:
            self._rounds[name].append(us)

    def found(self, names: Iterable[str]) -> dict[str, Any]:
        """What is known of the named ones: whole rounds, in which each had its turn."""
        whole = min((len(each) for each in self._rounds.values()), default=0)
        rounds = {name: each[_UNCOUNTED:whole] for name, each in self._rounds.items() if whole > _UNCOUNTED}
        left = {name: "interrupted" for name in names if name not in rounds}
        return {"steps": self._steps if rounds else 0, "steps_us": rounds, "failed": left | self._failed}


def _turned(names: list[str], number: int) -> list[str]:
    """Another goes first in each pair of rounds, and the second of a pair runs backwards.

    Who follows whom, whose heat it inherits, and a drift of the clock then weigh on all alike: turning alone would keep each
    behind the same one.
    """
    at = number // 2 % max(1, len(names))
    turned = names[at:] + names[:at]
    return turned[::-1] if number % 2 else turned

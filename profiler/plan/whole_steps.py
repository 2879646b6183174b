"""Whole steps of several assignments, measured in turn: what sums of single Linears leave out is in them.

What is left out: quantization that Inductor fuses with what comes before it, the host's time, and the clock, which falls as
tensor cores draw power. No torch here: each assignment has a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from profiler.core.child import child_command
from profiler.core.spec import RunSpec
from profiler.tune.progress import Progress

_ROUNDS = 5
# Long enough that the GPU is as warm, and its clock as low, as in a call of the pipeline.
_ROUND_US = 1.5e6
_MOST_STEPS = 100
_END_S = 20.0
_GONE = "its process ended without an answer; the machine may be out of memory"


def measure_steps(spec: RunSpec, layers: list[dict[str, Any]], assignments: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Measure a step of the transformer under each assignment, JSON-ready.

    Args:
        layers: module, in_features, out_features and rows of each Linear.
        assignments: name -> module -> scheme or `left`.

    Returns:
        `steps_us`: name -> microseconds of a step, one a round; `steps`: how many a round; `failed`: name -> why it has none.
    """
    progress = Progress(len(assignments) + _ROUNDS + 2)
    with contextlib.ExitStack() as stack:
        running: dict[str, _Process] = {}
        failed: dict[str, str] = {}
        for name, schemes in assignments.items():
            progress.label(f"compiling {name}")
            process = stack.enter_context(_started(spec, layers, schemes))
            why = process.failed()
            if why is None:
                running[name] = process
            else:
                failed[name] = why
            progress.advance()
        progress.label("whole steps")
        count, rounds = _rounds(running, progress)
    gone = {name: _GONE for name in running if name not in rounds}
    return {"steps": count, "steps_us": rounds, "failed": failed | gone}


def _rounds(running: dict[str, _Process], progress: Progress) -> tuple[int, dict[str, list[float]]]:
    """Steps a round, and the times of those that lived through all rounds."""
    rounds: dict[str, list[float]] = {name: [] for name in running}
    count = 2
    # The first round says how many steps the others need; the second warms the device up.
    for number in range(_ROUNDS + 2):
        for name in _turned(list(rounds), number):
            us = running[name].step_us(count)
            if us is None:
                del rounds[name]
            else:
                rounds[name].append(us)
        if not rounds:
            break
        if number == 0:
            count = max(1, min(_MOST_STEPS, round(_ROUND_US / max(each[0] for each in rounds.values()))))
        progress.advance()
    return count, {name: each[2:] for name, each in rounds.items()}


def _turned(names: list[str], number: int) -> list[str]:
    """Each goes first in turn: who follows whom, and a drift of the clock, then weigh on all alike."""
    at = number % max(1, len(names))
    return names[at:] + names[:at]


class _Process:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def failed(self) -> str | None:
        """Wait until it is warm; why it cannot be, or None."""
        answer = self._answer()
        return _GONE if answer is None else answer["failed"]

    def step_us(self, count: int) -> float | None:
        """Microseconds of a step, of `count` in a row; None where the process is gone."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        answer = self._answer()
        return None if answer is None else float(answer["step_us"])

    def _answer(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return dict(json.loads(line)) if line.endswith("\n") else None


@contextlib.contextmanager
def _started(spec: RunSpec, layers: list[dict[str, Any]], schemes: Mapping[str, str]) -> Iterator[_Process]:
    keys = ("module", "in_features", "out_features", "rows")
    linears = [{key: each[key] for key in keys} | {"scheme": schemes[each["module"]]} for each in layers]
    child = subprocess.Popen(child_command("profiler.plan.contestant"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps({"spec": spec.to_dict(), "linears": linears}) + "\n")
            child.stdin.flush()
        yield _Process(child)
    finally:
        _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()
    try:
        # It ends with its input; compiling does not hear that.
        child.wait(_END_S if child.poll() is None and sys.exc_info()[0] is None else 0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()

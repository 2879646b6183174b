"""A contestant's process as its parent sees it: asked by a line, answering by one, and not waited for without end."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from profiler.core.child import child_command
from profiler.core.spec import RunSpec

# Compiling with every product autotuned takes minutes.
_READY_S = 600.0
# A round beyond what getting warm took, which is compiling and more steps than a round of slow ones has.
_SPARE_S = 60.0
_END_S = 20.0


class Contestant:
    """A process that holds one quantized and compiled transformer.

    Attributes:
        why: why it has no answer, once it has none.
    """

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child, self._limit_s, self.why = child, _READY_S, ""

    def ready_s(self) -> float | None:
        """Wait until it is warm: after how many seconds; None where it cannot be."""
        start = time.monotonic()
        if self._answer(_READY_S) is None:
            return None
        taken = time.monotonic() - start
        self._limit_s = taken + _SPARE_S
        return taken

    def step_us(self, count: int) -> float | None:
        """Microseconds of a step, of `count` in a row; None where it does not say."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(f"{count}\n")
            self._child.stdin.flush()
        answer = self._answer(self._limit_s)
        return None if answer is None else float(answer["step_us"])

    def _answer(self, limit_s: float) -> dict[str, Any] | None:
        assert self._child.stdout is not None
        # One answer a question, written at once: none waits in the reader's buffer.
        if not select.select([self._child.stdout], [], [], limit_s)[0]:
            self._child.kill()
            self.why = f"no answer within {limit_s:.0f} s"
            return None
        line = self._child.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line.endswith("\n") else {"failed": self._end()}
        self.why = answer.get("failed") or ""
        return None if self.why else answer

    def _end(self) -> str:
        """Why it ended without an answer."""
        try:
            code = self._child.wait(_END_S)
        except subprocess.TimeoutExpired:
            return "its process closed its output without an answer"
        if code >= 0:
            return f"its process ended without an answer, with exit code {code}"
        told = f"its process was killed by {signal.Signals(-code).name}"
        return told + ("; the machine may be out of memory" if -code == signal.SIGKILL else "")


@contextlib.contextmanager
def started(spec: RunSpec, layers: list[dict[str, Any]], schemes: Mapping[str, str]) -> Iterator[Contestant]:
    """Start one for an assignment (module -> scheme), and end it.

    Raises:
        OSError: no process can be started.
    """
    keys = ("module", "in_features", "out_features", "rows")
    linears = [{key: each[key] for key in keys} | {"scheme": schemes[each["module"]]} for each in layers]
    child = _start()
    assert child.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps({"spec": spec.to_dict(), "linears": linears}) + "\n")
            child.stdin.flush()
        yield Contestant(child)
    finally:
        _end(child)


def _start() -> subprocess.Popen[str]:
    # Ctrl-C reaches every process of a terminal, and it is the parent that decides: its children, and what these start to
    # compile, inherit a mask under which they never hear of it. One that comes meanwhile waits for the parent.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        command = child_command("profiler.plan.contestant")
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()
    try:
        # It ends with its input; compiling does not hear that.
        child.wait(_END_S if child.poll() is None and sys.exc_info()[0] is None else 0)
    except subprocess.TimeoutExpired:
        child.kill()
        # One that a driver holds does not end by that either, and the plan is not to wait for it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_END_S)
    if child.stdout is not None:
        child.stdout.close()

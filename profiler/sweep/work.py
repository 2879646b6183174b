"""Running one cell where it should run, to a run directory and an outcome: the same for every executor."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from profiler.core.errors import EXIT_INTERRUPTED, EXIT_USAGE, UnreadableInput
from profiler.rundir.reader import bury_on_disk, is_run, overwrite_status, read_manifest
from profiler.sweep.caches import COLD, cache_counts, cache_environment, count_kernels
from profiler.sweep.cells import FAILED, INTERRUPTED, OK, REFUSED, TIMEOUT
from profiler.sweep.child import WARNING
from profiler.sweep.processes import MARK, Process, end, kill, wait_for
from profiler.sweep.warm import StarterLost, WarmStarter

CHILD = "profiler.sweep.child"
# How a process ends that is interrupted before it has a run: by a signal, or having heard it while it imports.
_INTERRUPTED = (-signal.SIGINT, -signal.SIGTERM, EXIT_INTERRUPTED)
# Bytes of what a cell printed that are kept: its end.
_LOG_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker needs to know of a cell: everything here pickles.

    `spec` is the RunSpec as a mapping, `mark` names sweep and cell among all processes of a machine, `cache` is "shared" or
    "cold", `child` is the module that records, `paths` is where it looks for modules first: a user's own pipeline lies there.
    """

    id: str
    spec: dict[str, Any]
    command: str
    limit_s: float
    mark: str
    cache: str = "shared"
    child: str = CHILD
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a task runs: the worker's name, variables of its own, whether it has a GPU, its folder of compile caches."""

    worker: str
    cache: Path
    gpu: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended; its run directory, where it made one, lies in the work folder under the task's id.

    `waited_s` are those of `seconds` until its process was there: the first of a sweep waits for the starter's imports.
    """

    status: str
    worker: str
    began_ns: int
    seconds: float
    waited_s: float = 0.0
    reason: str | None = None
    cache: dict[str, Any] | None = None
    log: str = ""


def run_task(
    task: Task, work: Path, place: Place, stop: Callable[[], bool] = lambda: False, starter: WarmStarter | None = None
) -> Outcome:
    """Record one cell into `work / task.id` in a process of its own.

    The process is ended when it has run for `limit_s`, when `stop()` is true, and when this call ends in any other way; with it
    ends everything that it started.

    Args:
        starter: forks the process where it can; where it cannot, or dies, the process begins by itself.
    """
    run, log = work / task.id, work / f"{task.id}.log"
    work.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(run, ignore_errors=True)
    cold = work / f"{task.id}.cache"
    cache = cold if task.cache == COLD else place.cache
    kernels, began_ns, began = count_kernels(cache), time.time_ns(), time.monotonic()
    environment = {**cell_environment(task.mark, task.paths, cache), **place.environment}
    start = _Start(task, run, log, environment, place.gpu, stop, began)
    try:
        try:
            code, ended, waited_s = _record(start, starter)
        except StarterLost as error:
            assert starter is not None
            starter.lose(str(error))
            shutil.rmtree(run, ignore_errors=True)
            code, ended, waited_s = _record(start, starter)
        said = _tail(log)
        status, reason = _judge(run, code, ended, task, said)
        counts = cache_counts(run, kernels, cache)
    finally:
        shutil.rmtree(cold, ignore_errors=True)
        log.unlink(missing_ok=True)
    # A clock that is set meanwhile makes no cell short.
    seconds = round(time.monotonic() - began, 3)
    return Outcome(
        status=status,
        worker=place.worker,
        began_ns=began_ns,
        seconds=seconds,
        waited_s=waited_s,
        reason=reason,
        cache=counts,
        log=said,
    )


def cell_environment(mark: str, paths: Sequence[str], cache: Path) -> dict[str, str]:
    """The environment of a cell's process.

    Args:
        paths: where it looks for modules before this process's own PYTHONPATH.
        cache: the folder of its compile caches.
    """
    found = [*paths, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    ours = {"PYTHONUNBUFFERED": "1", MARK: mark, "PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, found)))}
    return {**os.environ, **cache_environment(cache.absolute()), **ours}


@dataclass(frozen=True)
class _Start:
    """How a cell's process is started; `began` is of the monotonic clock."""

    task: Task
    run: Path
    log: Path
    environment: Mapping[str, str]
    gpu: bool
    stop: Callable[[], bool]
    began: float

    @property
    def arguments(self) -> list[str]:
        return ["gpu"] if self.gpu else []

    @property
    def request(self) -> str:
        return json.dumps({"spec": self.task.spec, "out": str(self.run), "command": self.task.command})


def _record(start: _Start, starter: WarmStarter | None) -> tuple[int, str | None, float]:
    """(exit code, why it was ended or None, seconds until the process was there).

    Raises:
        StarterLost: how it would have ended is not known.
    """
    deadline = time.monotonic() + start.task.limit_s
    with start.log.open("wb") as log:
        child = _forked(start, starter, log, lambda: start.stop() or time.monotonic() >= deadline) or _by_itself(start, log)
        waited_s = round(time.monotonic() - start.began, 3)
        try:
            ended = wait_for(child, max(0.0, deadline - time.monotonic()), start.stop)
            if ended:
                end(child, start.task.mark)
        finally:
            kill(child, start.task.mark)
        return child.wait(), ended, waited_s


def _forked(start: _Start, starter: WarmStarter | None, log: BinaryIO, stop: Callable[[], bool]) -> Process | None:
    if starter is None:
        return None
    found = starter.start(start.task.child, start.arguments, start.request, start.environment, log, stop)
    if found is None and starter.why:
        log.write(f"begins by itself, its libraries not imported before: {starter.why}\n".encode())
        log.flush()
    return found


def _by_itself(start: _Start, log: BinaryIO) -> Process:
    arguments = [sys.executable, "-m", start.task.child, str(os.getpid()), *start.arguments]
    child = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=log, stderr=log, env=dict(start.environment), start_new_session=True
    )
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(start.request.encode())
        child.stdin.close()
    return child


def _judge(run: Path, code: int, ended: str | None, task: Task, said: str) -> tuple[str, str | None]:
    """Status and reason from the exit code, the run directory and what was printed."""
    if ended is not None:
        status, why = (TIMEOUT, f"took longer than {task.limit_s:.0f} s") if ended == "timeout" else (INTERRUPTED, "stopped")
        if is_run(run):
            overwrite_status(run, status, why)
        return status, why
    if not is_run(run):
        without = {EXIT_USAGE: REFUSED} | dict.fromkeys(_INTERRUPTED, INTERRUPTED)
        return without.get(code, FAILED), _last_error(said) or f"its process ended with code {code} and no run"
    bury_on_disk(run, FAILED, f"the recording process died (exit code {code})")
    try:
        manifest = read_manifest(run)
    except UnreadableInput as error:
        return FAILED, error.message
    if manifest.status == OK:
        return OK, _warning(said)
    failure = manifest.failure
    return manifest.status, (failure.message.splitlines() or [failure.type])[0] if failure else None


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_BYTES))
        return file.read().decode(errors="replace")


def _last_error(said: str) -> str | None:
    lines = [each for each in said.splitlines() if each.strip()]
    errors = [each.removeprefix("error: ") for each in lines if each.startswith("error: ")]
    return (errors or lines)[-1] if lines else None


def _warning(said: str) -> str | None:
    return next((each.removeprefix(WARNING) for each in said.splitlines() if each.startswith(WARNING)), None)

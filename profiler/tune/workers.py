"""Worker processes that may die: kernels are compiled and first tried where a crash or a hang costs one process.

After a kernel has read what it may not, its process can use the GPU no more: such a worker is replaced too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

_POISONED = ("CUDA error", "CUDA driver error", "device-side assert")


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    job: Any = None
    since: float = 0.0


class Workers:
    """A number of processes, each with a pipe.

    Args:
        count: how many.
        task: job -> a value that pickles; must be importable in a fresh process, and so must what jobs are made of.
        limit_s: a job that takes longer is given up with its process.
    """

    def __init__(self, count: int, task: Callable[[Any], Any], limit_s: float = 120.0) -> None:
        self._task, self._limit_s = task, limit_s
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = [self._start() for _ in range(count)]

    def run(self, jobs: Iterable[Any], done: Callable[[Any, Any, str | None], None]) -> None:
        """Run all jobs; `done(job, value, None)` or `done(job, None, why it failed)` is called here for each as it ends."""
        waiting = deque(jobs)
        while waiting or any(each.job is not None for each in self._workers):
            for index, each in enumerate(self._workers):
                if each.job is None and waiting:
                    self._workers[index] = self._give(each, waiting.popleft())
            ready = wait([each.pipe for each in self._workers if each.job is not None], timeout=1.0)
            for index, each in enumerate(self._workers):
                if each.job is not None and (each.pipe in ready or time.monotonic() - each.since > self._limit_s):
                    self._workers[index] = self._end(each, done)

    def close(self) -> None:
        """End every process."""
        for each in self._workers:
            each.process.kill()
            each.process.join()
            each.pipe.close()
        self._workers = []

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._task), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _give(self, worker: _Worker, job: Any) -> _Worker:
        try:
            worker.pipe.send(job)
        except OSError:
            # It died while it waited.
            worker = self._replace(worker)
            worker.pipe.send(job)
        worker.job, worker.since = job, time.monotonic()
        return worker

    def _end(self, worker: _Worker, done: Callable[[Any, Any, str | None], None]) -> _Worker:
        job, worker.job = worker.job, None
        if not worker.pipe.poll():
            done(job, None, f"took longer than {self._limit_s:.0f} s")
            return self._replace(worker)
        try:
            value, why = worker.pipe.recv()
        except (EOFError, OSError):  # the latter where it died before it had read the job
            worker.process.join()
            done(job, None, f"its process died ({_ending(worker.process.exitcode)})")
            return self._replace(worker)
        done(job, value, why)
        return self._replace(worker) if why is not None and any(each in why for each in _POISONED) else worker

    def _replace(self, worker: _Worker) -> _Worker:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        return self._start()


def _serve(pipe: Connection, task: Callable[[Any], Any]) -> None:
    # Ctrl-C is the parent's to handle; what libraries print is no part of the parent's output.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((task(job), None))
        except Exception as error:  # noqa: BLE001 - whatever a compiler raises is a failed candidate
            pipe.send((None, f"{type(error).__name__}: {error}"[:500]))


def _ending(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"

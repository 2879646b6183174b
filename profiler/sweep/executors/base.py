"""What an executor is, and the registry of executors. Nothing heavy at import: the command line reads this for its choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from profiler.core.registry import Registry
from profiler.sweep.work import Outcome, Task


@dataclass(frozen=True, kw_only=True)
class Site:
    """What every executor is told: the folder to leave run directories in, the shared compile caches, the device asked for.

    `work / task.id` is where a task's run directory lies once the task has ended. `warm` allows cells to be forked from a
    process that has imported their libraries; an executor need not do it. `limit_s` is the time of the sweep, None for no limit.
    """

    work: Path
    cache: Path
    device: str
    warm: bool = False
    limit_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A task that is over: its outcome, or how its worker was lost: what became of it is not known, and it must run again."""

    id: str
    outcome: Outcome | None = None
    lost: str | None = None


class Executor(Protocol):
    """Runs tasks somewhere, `run_task` for each."""

    def probe(self, specs: list[dict[str, Any]]) -> list[str | None]:
        """Why a worker refuses each spec before anything loads, or None; None as well where the sweep's time ends first."""

    def slots(self) -> int:
        """How many tasks can run at once, now."""

    def start(self, task: Task) -> str:
        """Start a task, and return the name of its worker as far as it is known. Only as many at once as there are slots."""

    def wait(self, timeout_s: float) -> list[Ended]:
        """The tasks that have ended since the last call; waits for the first of them at most that long."""

    def stop(self) -> None:
        """End what runs; `wait` still gives an end for each task."""

    def close(self) -> None:
        """Let go of everything."""


Factory = Callable[[Site], Executor]
EXECUTORS: Registry[Factory] = Registry("executor", "profiler.sweep.executors")

"""local: this machine, one process for each GPU; one process in all where there is none."""

from __future__ import annotations

import os
import queue
import socket
import threading
from functools import cache
from pathlib import Path
from typing import Any

from profiler.sweep.executors.base import EXECUTORS, Ended, Site
from profiler.sweep.preload import modules_for
from profiler.sweep.probe import probe_machine
from profiler.sweep.warm import WarmStarter
from profiler.sweep.work import Place, Task, cell_environment, run_task


class LocalExecutor:
    """A thread waits for each cell's process; a GPU that a cell has is given to no other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ended: queue.Queue[Ended] = queue.Queue()
        self._stop = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._places: list[Place] | None = None
        self._taken: dict[str, Place] = {}
        self._starter: WarmStarter | None = None

    def probe(self, specs: list[dict[str, Any]]) -> list[str | None]:
        """Why this machine refuses each spec, or None; also finds the GPUs, and begins to import what the cells need."""
        if self._site.warm and self._starter is None and len(specs) > 1:
            models, compiled = [each["model"] for each in specs], any(each["compile"] != "none" for each in specs)
            self._starter = self._warm(modules_for(models, compiled=compiled))
        gpus, reasons = probe_machine(specs)
        self._places = places(self._site, gpus if self._site.device != "cpu" else 0)
        return reasons

    def slots(self) -> int:
        """One for each GPU, or one."""
        return len(self._known())

    def start(self, task: Task) -> str:
        """Start a task on the first free GPU."""
        place = next(each for each in self._known() if each not in self._taken.values())
        self._taken[task.id] = place
        thread = threading.Thread(target=self._run, args=(task, place), name=task.id)
        self._threads[task.id] = thread
        thread.start()
        return place.worker

    def wait(self, timeout_s: float) -> list[Ended]:
        """The tasks that have ended."""
        try:
            found = [self._ended.get(timeout=timeout_s)]
        except queue.Empty:
            return []
        while not self._ended.empty():
            found.append(self._ended.get())
        for each in found:
            self._threads.pop(each.id).join()
            self._taken.pop(each.id)
        return found

    def stop(self) -> None:
        """End what runs."""
        self._stop.set()

    def close(self) -> None:
        """Wait for the threads: none of them may leave a process behind."""
        self.stop()
        for each in self._threads.values():
            each.join()
        if self._starter:
            self._starter.close()

    def _warm(self, modules: list[str]) -> WarmStarter:
        self._site.work.mkdir(parents=True, exist_ok=True)
        environment = cell_environment("starter", [str(Path.cwd())], self._site.cache)
        with (self._site.work / "starter.log").open("wb") as log:
            return WarmStarter(environment, modules, log)

    def _known(self) -> list[Place]:
        if self._places is None:
            self.probe([])
        return self._places or []

    def _run(self, task: Task, place: Place) -> None:
        try:
            self._ended.put(Ended(id=task.id, outcome=run_task(task, self._site.work, place, self._stop.is_set, self._starter)))
        except Exception as error:  # noqa: BLE001 - whatever stops the waiting, the sweep must hear of it
            self._ended.put(Ended(id=task.id, lost=f"{type(error).__name__}: {error}"))


def places(site: Site, gpus: int) -> list[Place]:
    """One place for each GPU that torch sees, by its name in CUDA_VISIBLE_DEVICES; one without any where there is none."""
    host = host_name()
    if not gpus:
        return [Place(worker=f"{host}/cpu", cache=site.cache)]
    names = [each.strip() for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.strip()]
    names = names or [str(index) for index in range(gpus)]
    return [
        Place(worker=f"{host}/gpu{index}", cache=site.cache, gpu=True, environment={"CUDA_VISIBLE_DEVICES": name})
        for index, name in enumerate(names[:gpus])
    ]


@cache
def host_name() -> str:
    """This machine's name without its domain."""
    return socket.gethostname().partition(".")[0]


EXECUTORS.add("local", LocalExecutor)

"""ray: a Ray cluster, one GPU for each cell where the cluster has any, one node where it has none.

Which of both is decided once, when the sweep begins: a cell whose GPU is lost waits for another one, since what a CPU makes of it
would be kept as its result.
The worker records into a folder of its own and sends the run directory back as a tar. A task is never retried by Ray: how often a
cell was started is the sweep's own count.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path
from stat import S_ISDIR, S_IWGRP, S_IWOTH
from typing import Any

from profiler.core.errors import MissingExtra, RecordedProgramFailed, Refused, UnreadableInput
from profiler.sweep.cells import REFUSED
from profiler.sweep.executors.base import EXECUTORS, Ended, Site
from profiler.sweep.executors.local import host_name
from profiler.sweep.probe import probe_machine
from profiler.sweep.work import Outcome, Place, Task, run_task

_PROBE_S = 600.0


class RayExecutor:
    """Tasks of a Ray cluster: the one of `RAY_ADDRESS`, one that runs on this machine, or a new one of this machine alone."""

    def __init__(self, site: Site) -> None:
        # Else Ray puts a `print` of its own in place of this process's.
        os.environ.setdefault("RAY_TQDM_PATCH_PRINT", "0")
        try:
            import ray
        except ImportError:
            raise MissingExtra("--executor ray", "cluster") from None
        self._ray, self._site = ray, site
        self._ours = not ray.is_initialized()
        if self._ours:
            try:
                ray.init(log_to_driver=False, logging_level=logging.WARNING)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise Refused(f"no Ray cluster: {error}", "set RAY_ADDRESS to its address, or unset it") from None
        self._tasks: dict[Any, str] = {}
        self._stopped = False
        # Who names the device waits for it, also where none has joined yet.
        self._gpu = site.device == "cuda" or bool(self._nodes("GPU"))

    def probe(self, specs: list[dict[str, Any]]) -> list[str | None]:
        """Why the first worker that is free refuses each spec, or None; None where none is free in the time of the sweep."""
        asked = self._remote(_probe).remote(specs)
        limit_s = _PROBE_S if self._site.limit_s is None else self._site.limit_s
        try:
            _, reasons = self._ray.get(asked, timeout=min(limit_s, _PROBE_S))
        except self._ray.exceptions.GetTimeoutError:
            self._ray.cancel(asked)
            if limit_s < _PROBE_S:
                return [None] * len(specs)
            what = "GPU" if self._gpu else "worker"
            raise Refused(f"no {what} of the Ray cluster was free within {_PROBE_S:.0f} s", "see `ray status`") from None
        return list(reasons)

    def slots(self) -> int:
        """GPUs of the nodes that are alive; of a sweep without GPUs, how often the smallest node's CPUs are there.

        Raises:
            RecordedProgramFailed: the node through which this process speaks to the cluster is dead: nothing can begin any more.
        """
        here = self._ray.get_runtime_context().get_node_id()
        if any(each["NodeID"] == here and not each["Alive"] for each in self._ray.nodes()):
            raise RecordedProgramFailed("the Ray node of this machine died", "start it again; the same command then goes on")
        if self._gpu:
            return int(sum(self._nodes("GPU")))
        cpus = self._nodes("CPU")
        return sum(int(each // min(cpus)) for each in cpus)

    def start(self, task: Task) -> str:
        """Give a task to the cluster."""
        reference = self._remote(_run).remote(task, self._gpu)
        self._tasks[reference] = task.id
        return f"ray/{'gpu' if self._gpu else 'cpu'}"

    def wait(self, timeout_s: float) -> list[Ended]:
        """The tasks that have ended, their run directories unpacked."""
        if not self._tasks:
            time.sleep(timeout_s)
            return []
        ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=timeout_s)
        return [self._receive(each, self._tasks.pop(each)) for each in ready]

    def stop(self) -> None:
        """End what runs; what a worker had recorded until then is not sent."""
        self._stopped = True
        for each in self._tasks:
            self._ray.cancel(each)

    def close(self) -> None:
        """Leave the cluster; one that this executor started ends."""
        for each in self._tasks:
            self._ray.cancel(each)
        if self._ours:
            self._ray.shutdown()

    def _receive(self, reference: Any, name: str) -> Ended:
        try:
            outcome, packed = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # The worker or its node died, its memory ran out, or the result was lost with it.
            lines = [each.strip() for each in str(error).splitlines() if each.strip()]
            return Ended(id=name, lost=f"{type(error).__name__}: {lines[0] if lines else 'no word'}")
        try:
            unpack(packed, self._site.work / name)
        except UnreadableInput as error:
            return Ended(id=name, lost=f"its run directory could not be unpacked: {error.message}")
        return Ended(id=name, outcome=outcome)

    def _remote(self, function: Any) -> Any:
        # Without GPUs a cell gets all cores of a node: cells side by side would slow each other down.
        cpus = min(self._nodes("CPU"), default=1)
        resources = {"num_gpus": 1, "num_cpus": 0} if self._gpu else {"num_cpus": cpus}
        return self._ray.remote(max_retries=0, **resources)(function)

    def _nodes(self, unit: str) -> list[float]:
        """How much of a resource each living node has, those that have none left out."""
        if unit == "GPU" and self._site.device == "cpu":
            return []
        found = [each["Resources"].get(unit, 0.0) for each in self._ray.nodes() if each["Alive"]]
        return [each for each in found if each > 0]


def _probe(specs: list[dict[str, Any]]) -> tuple[int, list[str | None]]:
    return probe_machine(specs)


def _run(task: Task, gpu: bool) -> tuple[Outcome, bytes]:
    """On a worker: run a task in a folder of its own; its outcome and its run directory as a tar (empty where it made none)."""
    import ray

    sweep = task.mark.partition("/")[0]
    remove_left(sweep)
    with tempfile.TemporaryDirectory(prefix=f"{_folder(sweep)}{os.getpid()}-") as folder:
        ids = ray.get_gpu_ids() if gpu else []
        worker = f"{host_name()}-{ray.get_runtime_context().get_node_id()[:6]}/{f'gpu{ids[0]}' if ids else 'cpu'}"
        try:
            cache = own_cache(sweep)
        except Refused as error:
            reason = f"{error.message}; {error.hint}"
            return Outcome(status=REFUSED, worker=worker, began_ns=time.time_ns(), seconds=0.0, reason=reason), b""
        # A GPU that joins a sweep of CPUs later is given to no cell, and none may take it.
        hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": ""}
        outcome = run_task(task, Path(folder), Place(worker=worker, cache=cache, gpu=gpu, environment=hidden))
        return outcome, pack(Path(folder) / task.id)


def _folder(sweep: str) -> str:
    return f"diffuscope-cell-{sweep}-"


def own_cache(sweep: str) -> Path:
    """The folder of a sweep's compile caches on this node: its cells share them, and no two nodes share a disk for certain.

    Raises:
        Refused: it is another user's, others can write to it, or it leads elsewhere. Cells run the code that lies in it.
    """
    cache = Path(tempfile.gettempdir()) / f"diffuscope-cache-{sweep}"
    with contextlib.suppress(FileExistsError):
        cache.mkdir(mode=0o700)
    found = cache.lstat()
    whose = "leads elsewhere, or is no folder" if not S_ISDIR(found.st_mode) else None
    whose = whose or (f"belongs to another user (uid {found.st_uid})" if found.st_uid != os.getuid() else None)
    whose = whose or ("can be written by other users" if found.st_mode & (S_IWGRP | S_IWOTH) else None)
    if whose:
        what = f"{cache} on {host_name()} {whose}, and cells run the compiled code in it"
        raise Refused(what, "remove it, or give Ray's workers a TMPDIR of their own")
    cache.chmod(0o700)
    return cache


def remove_left(sweep: str) -> None:
    """Remove what workers of this node that were killed left of a sweep's cells."""
    for left in Path(tempfile.gettempdir()).glob(f"{_folder(sweep)}*-*"):
        owner = left.name.removeprefix(_folder(sweep)).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)


def pack(run: Path) -> bytes:
    """A run directory as a tar; not compressed, because what is large in it is compressed already."""
    if not run.is_dir():
        return b""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(run, arcname=".")
    return buffer.getvalue()


def unpack(packed: bytes, run: Path) -> None:
    """The inverse of `pack`; what lay there before is gone.

    Raises:
        UnreadableInput: the bytes are damaged, or the disk does not take them; nothing is left of them then.
    """
    shutil.rmtree(run, ignore_errors=True)
    if not packed:
        return
    try:
        run.mkdir(parents=True)
        # Not packed any further, so that it cannot grow.
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            # No absolute names, no links out of the folder: workers are trusted, and bytes on a network are not.
            tar.extractall(run, filter="data")
    except (tarfile.TarError, OSError, LookupError, ValueError, ArithmeticError) as error:
        shutil.rmtree(run, ignore_errors=True)
        raise UnreadableInput(" ".join(str(error).split()), "run the cell again") from None


EXECUTORS.add("ray", RayExecutor)

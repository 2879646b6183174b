"""The ranks that record one run together: the process group, who writes where, and how they line up."""

from __future__ import annotations

import shutil
import socket
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from profiler.core.errors import DiffuscopeError, Refused, UsageError
from profiler.core.launch import Launch
from profiler.rundir.manifest import Manifest
from profiler.rundir.rank_writer import LeadWriter, RankWriter
from profiler.rundir.reader import is_run, read_manifest

# One rank may compile for minutes while the others wait in a collective; after this they give it up.
TIMEOUT = timedelta(minutes=10)
# What another host made on a shared folder may take a moment to be seen.
_SEEN_WITHIN_S = 5.0
_FOLLOWS_FROM = ("gloo", "nccl", "connection", "monitoredbarrier", "process group", "socket", "timed out")


@dataclass(frozen=True)
class Ranks:
    """The process group of a run.

    Attributes:
        control: a gloo group, for what must leave no kernel on the device.
    """

    launch: Launch
    control: Any

    def line_up(self) -> None:
        """Wait for every rank; no kernel is launched.

        Raises:
            RuntimeError: a rank did not come, named.
        """
        import torch

        torch.distributed.monitored_barrier(self.control, timeout=TIMEOUT)

    def gather(self, mine: Any) -> list[Any]:
        """What every rank gives, by rank."""
        import torch

        found: list[Any] = [None] * self.launch.world_size
        torch.distributed.all_gather_object(found, mine, group=self.control)
        return found

    def leave(self) -> None:
        """End the process group; for a rank that is well, and whose peers are."""
        import torch

        torch.distributed.destroy_process_group()


def take_device(launch: Launch, asked: str) -> None:
    """Make this rank's GPU the current one.

    Raises:
        Refused: the host has fewer GPUs than ranks.
    """
    import torch

    if asked == "cpu" or not torch.cuda.is_available():
        return
    if launch.local_rank >= torch.cuda.device_count():
        raise Refused(
            f"rank {launch.rank} would take GPU {launch.local_rank}, and {socket.gethostname()} has {torch.cuda.device_count()}",
            "start as many processes a host as it has GPUs",
        )
    torch.cuda.set_device(launch.local_rank)


def join(launch: Launch, device: str) -> Ranks:
    """Meet the other ranks: NCCL between GPUs, gloo between CPUs."""
    import torch

    distributed = torch.distributed
    if not distributed.is_available():
        raise Refused("--parallel needs torch.distributed, and this torch was built without it", "install another torch")
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
    return Ranks(launch, distributed.new_group(backend="gloo", timeout=TIMEOUT))


def open_writer(ranks: Ranks, out: str, manifest: Manifest) -> LeadWriter | RankWriter:
    """This rank's writer. Rank 0 makes the run directory; on a host that does not see it, the lowest rank makes one there.

    Args:
        out: the directory asked for; "" on a rank that was not told takes rank 0's.

    Raises:
        UsageError: some rank cannot make its directory; every rank then says so.
    """
    launch = ranks.launch
    manifest.world_size = launch.world_size
    first = _make(out, manifest, launch.rank, uuid.uuid4().hex[:12]) if launch.rank == 0 else None
    said = ranks.gather(_word(first))[0]
    _refuse_together([said])
    manifest.run_id, path = said["run_id"], Path(out or said["path"])
    if isinstance(first, LeadWriter):
        hosts = ranks.gather(_seen(launch, sees=True))
        _lose_others(first, [each for each in hosts if not each["sees"]])
        _agree(ranks, first, told=True)
        return first
    return _open_beside(ranks, path, manifest)


def _open_beside(ranks: Ranks, path: Path, manifest: Manifest) -> LeadWriter | RankWriter:
    launch = ranks.launch
    hosts = ranks.gather(_seen(launch, sees=_appears(path, manifest.run_id)))
    mine = hosts[launch.rank]
    blind = [each["rank"] for each in hosts if each["host"] == mine["host"] and not each["sees"]]
    made = _make(str(path), manifest, launch.rank, manifest.run_id) if blind and blind[0] == launch.rank else None
    _agree(ranks, made)
    if not isinstance(made, LeadWriter):
        return RankWriter(path, manifest, launch.rank)
    _lose_others(made, [each for each in hosts if each["rank"] not in blind])
    return made


def _agree(ranks: Ranks, made: LeadWriter | DiffuscopeError | None, *, told: bool = False) -> None:
    """All ranks go on, or none: what was made for a run that another rank refuses is taken away again.

    Args:
        told: the others know what this rank made.
    """
    try:
        _refuse_together(ranks.gather(None if told else _word(made)))
    except UsageError:
        if isinstance(made, LeadWriter):
            shutil.rmtree(made.path, ignore_errors=True)
        raise


def _make(out: str, manifest: Manifest, rank: int, run_id: str) -> LeadWriter | DiffuscopeError:
    manifest.run_id = run_id
    try:
        return LeadWriter(Path(out), manifest, rank)
    except DiffuscopeError as error:
        return error


def _word(made: LeadWriter | DiffuscopeError | None) -> dict[str, Any] | None:
    if isinstance(made, DiffuscopeError):
        return {"error": made.message, "hint": made.hint}
    return None if made is None else {"run_id": made.manifest.run_id, "path": str(made.path.absolute())}


def _refuse_together(words: list[dict[str, Any] | None]) -> None:
    for word in words:
        if word is not None and "error" in word:
            raise UsageError(word["error"], word["hint"])


def _lose_others(writer: LeadWriter, others: list[dict[str, Any]]) -> None:
    for each in others:
        why = f"its host {each['host']} shares no folder with this one: bring both together with `merge`"
        writer.manifest.lose(f"rank{each['rank']}", why)
    writer.flush()


def _seen(launch: Launch, *, sees: bool) -> dict[str, Any]:
    return {"rank": launch.rank, "host": socket.gethostname(), "sees": sees}


def _appears(path: Path, run_id: str) -> bool:
    """Whether the run that rank 0 made lies at `path` here too."""
    began = time.monotonic()
    while time.monotonic() - began < _SEEN_WITHIN_S:
        try:
            if is_run(path) and read_manifest(path).run_id == run_id:
                return True
        except DiffuscopeError:
            pass
        if is_run(path):  # of another run: no shared folder, and taken
            return False
        time.sleep(0.1)
    return False


def follows(error: BaseException | None) -> bool:
    """Whether an error is what another rank's end looks like from here: a broken collective, or torchrun's signal."""
    if isinstance(error, KeyboardInterrupt):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _FOLLOWS_FROM)

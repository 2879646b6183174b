"""The writers of a run of several ranks: each rank keeps its own folder, and one of them `run.json`."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Collection
from pathlib import Path

from profiler.rundir import layout
from profiler.rundir.manifest import Lost, Manifest
from profiler.rundir.ranks import RankStatus, judge, missing_ranks, read_ranks, write_rank
from profiler.rundir.summary import inference_peak_bytes, load_peak_bytes, model_bytes
from profiler.rundir.writer import RunWriter

# A rank that is well may still be packing its trace; one that waits for a dead one is given up soon.
_PATIENCE_OK_S, _PATIENCE_S = 600.0, 5.0
# A parent that saw its rank die says by which signal a moment later.
_LAST_WORDS_S = 1.5
_POLL_S = 0.1
# A whole rank that a folder lacks: each folder says that for itself.
_ABSENT = re.compile(r"rank\d+")


def describe_rank(manifest: Manifest, rank: int, *, secondhand: bool, ended_ns: int | None) -> RankStatus:
    """A rank's `rank.json` from what it recorded."""
    return RankStatus(
        rank=rank,
        host=socket.gethostname(),
        pid=int(manifest.process.get("pid", 0)),
        run_id=manifest.run_id,
        world_size=manifest.world_size,
        status=manifest.status,
        phase=manifest.open_phase,
        failure=manifest.failure,
        secondhand=secondhand,
        ended_ns=ended_ns,
        gpu=(manifest.environment.get("gpu") or {}).get("name"),
        process=manifest.process,
        phases=manifest.phases,
        timed=manifest.timed,
        untraced=manifest.untraced,
        traced=manifest.traced,
        lost=manifest.lost,
        memory={
            "model_bytes": model_bytes(manifest),
            "load_peak_bytes": load_peak_bytes(manifest),
            "inference_peak_bytes": inference_peak_bytes(manifest),
        },
        artifacts={name: each for name, each in manifest.artifacts.items() if name.startswith(f"rank{rank}/")},
    )


class RankWriter(RunWriter):
    """Writes one rank's folder in a run directory that another rank made.

    Args:
        path: the run directory, which exists.
        manifest: of this rank; only what `rank.json` holds of it is kept.
    """

    def __init__(self, path: Path, manifest: Manifest, rank: int) -> None:
        self.path, self.manifest, self.rank = path, manifest, rank
        self.disk_error = None
        self.secondhand = False
        self.ended_ns: int | None = None
        layout.rank_dir(path, rank).mkdir(exist_ok=True)
        self.keep_reserve()
        self.flush()

    @property
    def reserve(self) -> Path:
        """The rank's own: on a shared folder each rank must be able to say its last word."""
        return layout.rank_dir(self.path, self.rank) / layout.RESERVE

    def write_status(self) -> None:
        """Write `rank.json`."""
        write_rank(self.path, describe_rank(self.manifest, self.rank, secondhand=self.secondhand, ended_ns=self.ended_ns))

    def seal(self, status: str) -> None:
        """The rank's last word."""
        self.ended_ns = time.time_ns()
        super().seal(status)


class LeadWriter(RunWriter):
    """Makes the run directory, writes its own rank's folder, and seals `run.json` when all ranks of the directory have ended."""

    def __init__(self, path: Path, manifest: Manifest, rank: int) -> None:
        self.rank = rank
        self.secondhand = False
        self.ended_ns: int | None = None
        super().__init__(path, manifest)

    def write_status(self) -> None:
        """Write `run.json` and the own `rank.json`."""
        super().write_status()
        write_rank(self.path, describe_rank(self.manifest, self.rank, secondhand=self.secondhand, ended_ns=self.ended_ns))

    def seal(self, status: str) -> None:
        """Wait for the other ranks, take in what they left, and say how the run ended as a whole."""
        self.ended_ns = time.time_ns()
        self.manifest.status = status
        word = describe_rank(self.manifest, self.rank, secondhand=self.secondhand, ended_ns=self.ended_ns)
        write_rank(self.path, word)
        await_ranks(self.path, _PATIENCE_OK_S if status == "ok" else _PATIENCE_S)
        take_in(self.path, self.manifest, known=(self.rank,))
        self.manifest.process = {}
        RunWriter.write_status(self)
        self.reserve.unlink(missing_ok=True)


def await_ranks(run: Path, patience_s: float) -> None:
    """Until no rank of the directory runs any more, or patience ends; a dead one gets a moment for its parent's word."""
    began = time.monotonic()
    while running := [each for each in read_ranks(run) if each.status == "running"]:
        allowed = _LAST_WORDS_S if all(each.dead for each in running) else patience_s
        if time.monotonic() - began > allowed:
            return
        time.sleep(_POLL_S)


def _of_rank(rank: int, lost: Lost) -> Lost:
    return Lost(what=f"rank{rank}: {lost.what}", why=lost.why, count=lost.count)


def take_in(run: Path, manifest: Manifest, known: Collection[int]) -> None:
    """Bring into a run's manifest what its ranks left: artifacts, losses, and how they ended.

    Args:
        known: ranks whose losses the manifest holds already.
    """
    ranks = read_ranks(run)
    for each in ranks:
        manifest.artifacts |= each.artifacts
        if each.rank not in known:
            manifest.lost += [_of_rank(each.rank, lost) for lost in each.lost if not _ABSENT.fullmatch(lost.what)]
    manifest.status, manifest.failure = judge(ranks)
    for rank in missing_ranks(manifest, ranks):
        if not any(each.what == f"rank{rank}" for each in manifest.lost):
            manifest.lose(f"rank{rank}", "it left no rank.json that can be read")

"""The ranks of a run: what each says about itself in `rank<N>/rank.json`, and what that means for the run."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.rundir import layout
from profiler.rundir.manifest import Failure, Lost, Manifest, Phase, check_mappings
from profiler.rundir.processes import alive
from profiler.rundir.shape import build, check_inside, loads
from profiler.rundir.writer import write_atomic

_MAX_BYTES = 16 << 20
_MEMORY = dict.fromkeys(("model_bytes", "load_peak_bytes", "inference_peak_bytes"), int)
GONE = "is gone and left no word"


@dataclass(kw_only=True)
class RankStatus:
    """What one rank says about itself.

    Attributes:
        phase: where it is, or where it died; None between phases.
        secondhand: its failure is one that another rank's end brings about (a broken connection, a signal by torchrun).
        process: pid and start time in clock ticks, on `host`.
        artifacts: as in `run.json`, of this rank alone.
        memory: `model_bytes`, `load_peak_bytes`, `inference_peak_bytes`; None on a CPU.
    """

    rank: int
    host: str = ""
    pid: int = 0
    run_id: str = ""
    world_size: int = 1
    status: str = "running"
    phase: str | None = None
    failure: Failure | None = None
    secondhand: bool = False
    ended_ns: int | None = None
    gpu: str | None = None
    process: dict[str, Any] = field(default_factory=dict)
    phases: list[Phase] = field(default_factory=list)
    timed: dict[str, Any] = field(default_factory=dict)
    untraced: dict[str, Any] = field(default_factory=dict)
    traced: dict[str, Any] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def dead(self) -> bool:
        """Whether it says that it runs, and its process, one of this host, is gone."""
        return self.status == "running" and self._here and not alive(self.process)

    @property
    def silent(self) -> bool:
        """The same for a run that is over: of another host's rank only what it said is known."""
        return self.dead or (self.status == "running" and not self._here)

    @property
    def _here(self) -> bool:
        return self.host == socket.gethostname()


def read_rank(run: Path, rank: int) -> RankStatus | None:
    """What a rank says; None where it left no `rank.json`.

    Raises:
        UnreadableInput: the file is not what it should be.
    """
    path = layout.rank_dir(run, rank) / layout.RANK_STATUS
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UnreadableInput(f"{path} has more than {_MAX_BYTES >> 20} MiB", "record again")
        status = build(RankStatus, loads(path.read_text(encoding="utf-8")), "rank")
        check_mappings(status, ("process", "timed", "untraced", "traced"))
        check_inside(_MEMORY, status.memory, "memory")
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableInput(f"{path} is no status of a rank: {error}", "the file was changed after recording") from None
    if status.rank != rank:
        raise UnreadableInput(f"{path} is of rank {status.rank}", "the folder was renamed after recording")
    return status


def write_rank(run: Path, status: RankStatus) -> None:
    """Replace a rank's `rank.json` in one step."""
    folder = layout.rank_dir(run, status.rank)
    folder.mkdir(exist_ok=True)
    write_atomic(folder / layout.RANK_STATUS, json.dumps(asdict(status), indent=1))


def read_ranks(run: Path) -> list[RankStatus]:
    """What every rank says that left a word that can be read; the others are `missing_ranks`."""
    found = []
    for rank in layout.rank_numbers(run):
        with contextlib.suppress(UnreadableInput):
            found.append(read_rank(run, rank))
    return [each for each in found if each is not None]


def longest_calls(calls: Sequence[Sequence[float]]) -> list[float]:
    """The timed calls of all ranks, ns: each as long as on the rank that took longest, since all begin a call together.

    Args:
        calls: of every rank that has any. Empty where there are none, or not as many on each rank.
    """
    return [max(of) for of in zip(*calls, strict=True)] if len({len(each) for each in calls}) == 1 else []


def missing_ranks(manifest: Manifest, ranks: list[RankStatus]) -> list[int]:
    """Ranks of the run that left no word in its directory."""
    return sorted(set(range(manifest.world_size)) - {each.rank for each in ranks})


def bury_rank(run: Path, rank: int, message: str) -> None:
    """Write down that a rank's process died, for a parent that saw it; a rank that could still end itself stays."""
    status = read_rank(run, rank)
    if status is None or status.status != "running":
        return
    status.status, status.ended_ns = "failed", time.time_ns()
    status.failure = Failure(type="Died", message=message, phase=status.phase)
    (layout.rank_dir(run, rank) / layout.RESERVE).unlink(missing_ok=True)
    write_rank(run, status)


def judge(ranks: list[RankStatus]) -> tuple[str, Failure | None]:
    """(status, failure) of a run that is over, by its ranks: the first to fail names the phase, the others follow from it.

    A failure of a rank's own comes before a rank that is gone, and both before what a broken connection looks like from
    the other ranks.
    """
    failed = sorted((each for each in ranks if each.status not in ("ok", "running")), key=lambda each: each.ended_ns or 0)
    own, follow = [each for each in failed if not each.secondhand], [each for each in failed if each.secondhand]
    gone = [each for each in ranks if each.silent]
    if own:
        return own[0].status, _failure(own[0])
    if gone:
        return "failed" if len(gone) < len(ranks) else "interrupted", _gone(gone)
    return (follow[0].status, _failure(follow[0])) if follow else ("ok", None)


def _failure(status: RankStatus) -> Failure:
    inner = status.failure or Failure(type="Ended", message=status.status)
    phase = inner.phase or status.phase
    where = f" in {phase}" if phase else ""
    message = f"rank {status.rank} on {status.host}{where}: {inner.message}"
    return Failure(type=inner.type, message=message, phase=phase, traceback=inner.traceback)


def _gone(gone: list[RankStatus]) -> Failure:
    names = "; ".join(f"rank {each.rank} on {each.host}" + (f", in {each.phase}," if each.phase else "") for each in gone)
    return Failure(type="Died", message=f"{names} {GONE}", phase=gone[0].phase)

"""What torchrun (or another launcher of its kind) says about this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from profiler.core.errors import UsageError
from profiler.core.spec import PARALLEL

_HOW = "torchrun --nproc-per-node 2 -m profiler record MODEL --parallel"


@dataclass(frozen=True)
class Launch:
    """One process of several: its rank among all, and among those of its host."""

    rank: int
    world_size: int
    local_rank: int


def find_launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """This process's place among several; None where it was started alone."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return None
    try:
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        local = int(environment.get("LOCAL_RANK", rank))
    except ValueError:
        raise UsageError("RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers", "start with torchrun") from None
    if not (0 <= rank < size and 0 <= local < size):
        # The others would be waited for without end.
        raise UsageError(f"RANK is {rank} and LOCAL_RANK {local} of WORLD_SIZE {size}", "start with torchrun")
    return Launch(rank, size, local)


def parallel_of(kind: str | None, launch: Launch | None) -> dict[str, str | int] | None:
    """What `--parallel KIND` means among so many processes, as a spec holds it.

    Raises:
        UsageError: an unknown kind, one process where several are needed, or several where one is meant.
    """
    if kind is None:
        if launch is not None and launch.world_size > 1:
            raise UsageError(
                f"{launch.world_size} processes were started, and --parallel does not say what they share",
                f"give --parallel {' or '.join(PARALLEL)}, or start one process",
            )
        return None
    if kind not in PARALLEL:
        raise UsageError(f"--parallel {kind} is not known", f"choose from: {', '.join(PARALLEL)}")
    if launch is None or launch.world_size < 2:
        raise UsageError(
            f"--parallel {kind} spreads a call over several processes, and this is one", f"start it as {_HOW} {kind}"
        )
    return {"kind": kind, "degree": launch.world_size}

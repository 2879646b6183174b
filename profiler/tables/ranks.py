"""The ranks of a run: what each says of itself, which have no folder, and which left no trace."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.rundir import layout
from profiler.tables.run import Run


@dataclass(frozen=True)
class RankFacts:
    """One rank.

    Args:
        host: the name of its machine, or empty.
        status: as `rank.json` has it, or the run's where there is none; `missing` where the rank has no folder.
        problem: why it has no times to show, or empty.
        traced: whether it left a trace.
    """

    rank: int
    host: str = ""
    status: str = "ok"
    problem: str = ""
    traced: bool = True


def is_spread(run: Run) -> bool:
    """Whether the run is of several ranks, be their folders here or not."""
    return run.manifest.world_size > 1 or len(run.ranks) > 1


def rank_facts(run: Run) -> list[RankFacts]:
    """Every rank that the run should have, by number."""
    here = set(run.ranks)
    return [_facts(run, rank) if rank in here else _missing(rank) for rank in sorted(here | set(range(run.manifest.world_size)))]


def _missing(rank: int) -> RankFacts:
    return RankFacts(rank, status="missing", problem=f"rank {rank} left no folder", traced=False)


def _facts(run: Run, rank: int) -> RankFacts:
    said, problem = _said(run, rank)
    traced = run.has(layout.TRACE, rank)
    if not traced and not problem:
        failure = said.get("failure")
        why = failure.get("message") if isinstance(failure, dict) else None
        phase = f" in phase {said['phase']}" if said.get("phase") else ""
        problem = f"rank {rank} left no trace{f': {why}{phase}' if why else ''}"
    status = str(said.get("status") or run.manifest.status)
    return RankFacts(rank, str(said.get("host") or ""), status, problem, traced)


def _said(run: Run, rank: int) -> tuple[dict[str, Any], str]:
    """`rank.json`, and what is wrong with it."""
    path = run.artifact(layout.RANK_STATUS, rank)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError) as error:
        return {}, f"{path} cannot be read: {error}"
    return (said, "") if isinstance(said, dict) else ({}, f"{path} is no JSON object")


def host_of(run: Run, rank: int) -> str:
    """The rank's machine: as recorded, else as its trace says; empty where neither does.

    Raises:
        UnreadableInput: a trace that cannot be read.
    """
    said = _said(run, rank)[0].get("host")
    return str(said or run.trace(rank).metadata.get("host_name") or "")


def readable(run: Run) -> tuple[list[int], dict[int, str]]:
    """The ranks whose traces can be read, and why the others have no times."""
    problems = {each.rank: each.problem for each in rank_facts(run) if each.problem}
    found: list[int] = []
    for rank in run.ranks:
        if run.has(layout.TRACE, rank):
            try:
                run.trace(rank)
                found.append(rank)
            except UnreadableInput as error:
                problems[rank] = error.message
    return found, problems

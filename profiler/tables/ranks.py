"""The ranks of a run: what each says of itself, which have no folder, and which left no trace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from profiler.core.errors import UnreadableInput, UsageError
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.ranks import read_rank
from profiler.rundir.shape import loads
from profiler.tables.run import Run

# What every rank says of itself; `run.json` has them of rank 0, and how the run ended as a whole.
_OWN = ("status", "failure", "phases", "timed", "untraced", "traced")


@dataclass(frozen=True)
class RankFacts:
    """One rank.

    Args:
        host: the name of its machine, or empty.
        status: as `rank.json` has it, or the run's where there is none; `missing` where the rank has no folder.
        problem: why it has no times to show, or empty.
        traced: whether it left a trace.
        here: whether the run holds a folder of its own for it; one of another run is none.
    """

    rank: int
    host: str = ""
    status: str = "ok"
    problem: str = ""
    traced: bool = True
    here: bool = True


def is_spread(run: Run) -> bool:
    """Whether the run is of several ranks, be their folders here or not."""
    return rank_count(run) > 1


def rank_count(run: Run) -> int:
    """How many ranks the run should have, at least those that are here."""
    return max(run.manifest.world_size, len(run.ranks) if run.path.is_dir() else 0)


def chosen_rank(run: Run, rank: int) -> int:
    """`rank`, which somebody asked for.

    Raises:
        UsageError: the run holds no such rank, or it is another run's.
    """
    if rank not in run.ranks:
        raise UsageError(f"{run.path} holds no rank {rank}", f"it has: {', '.join(map(str, run.ranks)) or 'none'}")
    foreign = _foreign(run, _said(run, rank)[0], rank)
    if foreign:
        raise UsageError(f"{run.path}: {foreign}", "bring the ranks of one run together with `diffuscope merge`")
    return rank


def manifest_of(run: Run, rank: int) -> Manifest:
    """`run.json` with phases, peaks, calls and end of one rank, as that rank wrote them down; without them where it did not.

    An import holds nothing of a rank's own, and what it says holds for all.
    """
    if not is_spread(run) or run.manifest.kind == "import":
        return run.manifest
    try:
        word = read_rank(run.path, rank)
    except UnreadableInput:
        word = None
    if word is None or _foreign(run, {"run_id": word.run_id}, rank):
        return run.manifest if rank == 0 and word is None else replace(run.manifest, phases=[], timed={}, untraced={}, traced={})
    return replace(run.manifest, **{name: getattr(word, name) for name in _OWN})


def rank_facts(run: Run) -> list[RankFacts]:
    """Every rank that the run should have, by number."""
    here = set(run.ranks)
    return [_facts(run, rank) if rank in here else _missing(rank) for rank in sorted(here | set(range(run.manifest.world_size)))]


def _missing(rank: int) -> RankFacts:
    return RankFacts(rank, status="missing", problem=f"rank {rank} left no folder", traced=False, here=False)


def _facts(run: Run, rank: int) -> RankFacts:
    said, problem = _said(run, rank)
    foreign = _foreign(run, said, rank)
    problem = problem or foreign
    traced = run.has(layout.TRACE, rank)
    if not traced and not problem:
        problem = f"rank {rank} left no trace{_ended(said)}"
    status = str(said.get("status") or run.manifest.status)
    return RankFacts(rank, str(said.get("host") or ""), status, problem, traced, here=not foreign)


def _ended(said: dict[str, Any]) -> str:
    """How a rank's recording ended, and in which phase; what a broken connection looks like from here explains nothing."""
    failure = said.get("failure")
    why = failure.get("message") if isinstance(failure, dict) else None
    phase = f" in phase {said['phase']}" if said.get("phase") else ""
    if said.get("secondhand"):
        return f": it ended{phase} because another rank did"
    return f": it failed{phase}: {_first_line(why)}" if why else ""


def _said(run: Run, rank: int) -> tuple[dict[str, Any], str]:
    """`rank.json`, and what is wrong with it."""
    path = run.artifact(layout.RANK_STATUS, rank)
    # A pipe would keep the reader for ever.
    if not path.is_file():
        return {}, ""
    try:
        said = loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{path} cannot be read: {error}"
    return (said, "") if isinstance(said, dict) else ({}, f"{path} is no JSON object")


def _first_line(text: object) -> str:
    """What follows is a hint to whoever recorded it."""
    return str(text).partition("\n")[0]


def _foreign(run: Run, said: dict[str, Any], rank: int) -> str:
    """Why a rank's folder is not of this run; empty where it is, or where nobody says."""
    mine, theirs = run.manifest.run_id, said.get("run_id")
    return f"rank {rank} is of another run ({theirs}, this one is {mine})" if mine and theirs and mine != theirs else ""


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
        if run.has(layout.TRACE, rank) and not _foreign(run, _said(run, rank)[0], rank):
            try:
                run.trace(rank)
                found.append(rank)
            except UnreadableInput as error:
                problems[rank] = error.message
    return found, problems

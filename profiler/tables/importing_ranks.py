"""Filing a folder of rank traces recorded elsewhere: one `rank<N>/` each, read one at a time.

What is no trace of the run is left out and named: the others come all the same.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from profiler.core.errors import UnreadableInput, UsageError
from profiler.rundir import layout
from profiler.rundir.manifest import Lost, Manifest
from profiler.rundir.writer import NO_ROOM, RunWriter, write_atomic
from profiler.tables.chunks import read_chunks
from profiler.tables.importing import copy_gzipped, environment_of, seal_failed
from profiler.tables.losses import Losses
from profiler.tables.rank_names import host_of_name, rank_of_name, ranks_by_place
from profiler.tables.run import Run
from profiler.tables.stream import EventStream

_ENDINGS = (".json", ".json.gz")
# Enough for what comes before the first event, and that event.
_HEAD_BYTES = 1 << 19
# Traces of one run are of the same steps.
_ONE_RUN_S = 3600.0

UNSAID = -1


@dataclass(frozen=True)
class RankFile:
    """A trace, and the rank that it is of (UNSAID: nothing says it); `began_s` is epoch time, None where the trace has none."""

    path: Path
    rank: int
    world_size: int | None
    host: str
    began_s: float | None


def find_ranks(folder: Path) -> tuple[list[RankFile], list[Lost]]:
    """The traces of one run in a folder and below it, by rank, and what was left out and why.

    Raises:
        UnreadableInput: no folder, a run directory, or nothing in it that is a rank's trace.
    """
    if (folder / layout.MANIFEST).exists():
        raise UnreadableInput(f"{folder} is a run directory already", f"look at it: diffuscope show {folder}")
    found: list[RankFile] = []
    lost: list[Lost] = []
    for path in _candidates(folder):
        try:
            found.append(_peek(path))
        except UnreadableInput as error:
            lost.append(Lost(what=path.relative_to(folder).as_posix(), why=error.message.removeprefix(f"{path} ")))
    said, unsaid = _named(found, folder)
    kept, others = _one_run(said, folder)
    lost += unsaid
    if not kept:
        why = "; ".join(f"{each.what}: {each.why}" for each in (lost + others)[:3]) or "it holds no .json or .json.gz"
        hint = "name each by its rank: rank0.json, rank1.json, ..." if unsaid else "give a folder with one Kineto trace a rank"
        raise UnreadableInput(f"{folder} holds no trace of a rank ({why})", hint)
    return kept, lost + others


def _named(found: list[RankFile], folder: Path) -> tuple[list[RankFile], list[Lost]]:
    """Those whose rank is known, and the others; where none is, the one number that tells the names apart is it."""
    names = [PurePosixPath(each.path.relative_to(folder).as_posix()) for each in found]
    if all(each.rank == UNSAID for each in found) and (ranks := ranks_by_place(names)):
        return [replace(each, rank=rank) for each, rank in zip(found, ranks, strict=True)], []
    why = "says no rank (distributedInfo.rank), nor does its name"
    unsaid = [Lost(what=str(name), why=why) for each, name in zip(found, names, strict=True) if each.rank == UNSAID]
    return [each for each in found if each.rank != UNSAID], unsaid


def _candidates(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UnreadableInput(f"{folder} is no folder", "name the folder that holds the traces")
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(_ENDINGS) and path.is_file() and not path.name.startswith("."):
            yield path


def _peek(path: Path) -> RankFile:
    """What the beginning of a trace says of its rank; where the rank stands behind the events, all of it is read."""
    losses = Losses()
    stream = EventStream(path, read_chunks(path, losses, _HEAD_BYTES), losses, _HEAD_BYTES)
    batches = iter(stream)
    first = next(batches, [])
    if not first:
        why = "; ".join(losses.counts) or "no event"
        raise UnreadableInput(f"{path} holds no event that can be read ({why})", "copy or record the trace again")
    started = min((each.ts for each in first if each.ph == "X" and each.ts is not None), default=None)
    rank = _said_rank(stream.metadata)
    rank = rank_of_name(path) if rank is None else rank
    if rank is None:
        for _ in batches:
            pass
        rank = _said_rank(stream.metadata)
    about, base = stream.metadata, stream.metadata.get("baseTimeNanoseconds")
    began = None if started is None or not isinstance(base, int) or base <= 0 else base / 1e9 + started / 1e6
    world = _distributed(about).get("world_size")
    world = world if isinstance(world, int) and 0 < world <= layout.MOST_RANKS else None
    host = str(about.get("host_name") or "") or host_of_name(path, next((each.pid for each in first if each.ph == "X"), None))
    return RankFile(path, UNSAID if rank is None else rank, world, host, began)


def _distributed(metadata: dict[str, Any]) -> dict[str, Any]:
    said = metadata.get("distributedInfo")
    return said if isinstance(said, dict) else {}


def _said_rank(metadata: dict[str, Any]) -> int | None:
    rank = _distributed(metadata).get("rank")
    return rank if isinstance(rank, int) and 0 <= rank < layout.MOST_RANKS else None


def _one_run(found: list[RankFile], folder: Path) -> tuple[list[RankFile], list[Lost]]:
    """Of traces of several runs those of the run that most are of; of two of one rank the nearer in time."""
    sizes = Counter(each.world_size for each in found if each.world_size is not None)
    world = sizes.most_common(1)[0][0] if sizes else None
    began = [each.began_s for each in found if each.began_s is not None and each.world_size in (world, None)]
    middle = statistics.median_low(began) if began else None
    kept: dict[int, RankFile] = {}
    lost: list[Lost] = []
    for each in sorted(found, key=lambda one: (one.rank, _apart(one, middle), str(one.path))):
        if why := _foreign(each, world, middle, kept):
            lost.append(Lost(what=each.path.relative_to(folder).as_posix(), why=why))
        else:
            kept[each.rank] = each
    expected = world if world is not None else max(kept, default=-1) + 1
    return list(kept.values()), lost + list(_absent(kept, expected))


def _absent(kept: dict[int, RankFile], expected: int) -> Iterator[Lost]:
    """The ranks without a trace: of a thousand in a row one word."""
    ends = [-1, *sorted(kept), expected]
    for before, after in pairwise(ends):
        first, last = before + 1, after - 1
        if first == last:
            yield Lost(what=f"rank {first}", why="the folder holds no trace of it")
        elif first < last:
            yield Lost(what=f"ranks {first} to {last}", why="the folder holds no trace of them", count=last - first + 1)


def _apart(each: RankFile, middle: float | None) -> float:
    return abs(each.began_s - middle) if each.began_s is not None and middle is not None else 0.0


def _foreign(each: RankFile, world: int | None, middle: float | None, kept: dict[int, RankFile]) -> str:
    """Why a trace is not of the run, or nothing."""
    if world is not None and each.world_size not in (world, None):
        return f"of another run: its world size is {each.world_size}, that of the others {world}"
    if world is not None and each.rank >= world:
        return f"of another run: rank {each.rank} of {world}"
    if _apart(each, middle) > _ONE_RUN_S:
        return f"of another run: it began {_apart(each, middle) / 3600:,.1f} h apart from the others"
    return f"a second trace of rank {each.rank}, beside {kept[each.rank].path.name}" if each.rank in kept else ""


def import_ranks(folder: Path, out: Path, command: str = "", timed_ms: float | None = None) -> Run:
    """File the traces of a folder into the new directory `out`, and read each into the cache, one at a time.

    Args:
        timed_ms: the untraced wall of the traced window, > 0.

    Raises:
        UsageError, UnreadableInput: see `find_ranks`, or `out` exists.
    """
    if timed_ms is not None and not 0 < timed_ms < float("inf"):
        raise UsageError(f"--timed-ms {timed_ms} is no duration", "give the milliseconds that the traced window takes untraced")
    ranks, lost = find_ranks(folder)
    world = max([each.world_size or 0 for each in ranks] + [each.rank + 1 for each in ranks])
    untraced = {"dur_ns": round(timed_ms * 1e6)} if timed_ms is not None else {}
    writer = RunWriter(out, Manifest(kind="import", command=command, untraced=untraced, world_size=world, lost=lost))
    try:
        run = Run(out, writer.manifest)
        for each in ranks:
            _file(each, writer, run)
    except BaseException as error:
        seal_failed(writer, error)
        if isinstance(error, OSError):
            hint = "free some space and import again" if error.errno in NO_ROOM else "give another -o"
            raise UnreadableInput(f"cannot file into {out}: {error.strerror or error}", hint) from error
        raise
    writer.seal("ok")
    return run


def _file(each: RankFile, writer: RunWriter, run: Run) -> None:
    place = layout.rank_dir(Path(), each.rank)
    with each.path.open("rb") as file, writer.artifact((place / layout.TRACE).as_posix()) as target:
        copy_gzipped(file, target)
    said = {"rank": each.rank, "host": each.host, "world_size": writer.manifest.world_size, "status": "ok"}
    write_atomic(layout.rank_dir(writer.path, each.rank) / layout.RANK_STATUS, json.dumps(said, indent=1))
    try:
        tables = run.trace(each.rank)
    except UnreadableInput as error:
        writer.manifest.lose((place / layout.TRACE).as_posix(), error.message)
        return
    for why, count in tables.lost.items():
        writer.manifest.lose((place / layout.TRACE).as_posix(), why, count)
    writer.manifest.environment = writer.manifest.environment or environment_of(tables.metadata)

"""Bringing the folders of one run's ranks together: from hosts that share no folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from profiler.core.errors import UnreadableInput, UsageError
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.rank_writer import take_in
from profiler.rundir.ranks import RankStatus, read_rank
from profiler.rundir.reader import read_manifest
from profiler.rundir.writer import write_atomic

_SHARED_FILES = (layout.OUTPUT_TENSORS, layout.OUTPUT_IMAGE, layout.OUTPUT_VIDEO, layout.PLAN)


@dataclass(frozen=True)
class Part:
    """One host's folder of a run: what its `run.json` says, and its ranks."""

    path: Path
    manifest: Manifest
    ranks: dict[int, RankStatus]


def merge_runs(folders: list[Path], out: Path) -> Manifest:
    """Copy the rank folders of one run into a new run directory; the folder that holds rank 0 says the rest.

    Raises:
        UsageError: fewer than two folders, `out` exists or lies in one of them, another run, a rank twice, no rank 0.
        UnreadableInput: a folder that is no run directory, or a `rank.json` that cannot be read.
    """
    if len(folders) < 2:
        raise UsageError("merge needs the folders of two hosts or more", "diffuscope merge DIR DIR... -o OUT")
    if out.exists():
        raise UsageError(f"{out} exists already", "name another directory with -o: a run is never overwritten")
    parts = [_open(folder) for folder in folders]
    _refuse_strangers(parts)
    _refuse_inside(folders, out)
    whole = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own: another merge may be at work, or may have been killed.
        whole = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        manifest = _copy(parts, whole)
        whole.chmod(0o755)
        whole.rename(out)
    except OSError as error:
        raise UsageError(f"cannot merge into {out}: {_reason(error)}", "name a place with room with -o") from None
    finally:
        if whole is not None:
            shutil.rmtree(whole, ignore_errors=True)
    return manifest


def _refuse_inside(folders: list[Path], out: Path) -> None:
    inside = next((each for each in folders if out.resolve().is_relative_to(each.resolve())), None)
    if inside is not None:
        raise UsageError(f"{out} lies inside {inside}, which is merged", "name another directory with -o")


def _reason(error: OSError) -> str:
    """Of several files that could not be copied, the first."""
    several = error.args[0] if isinstance(error, shutil.Error) and error.args else None
    return str(several[0][2]) if isinstance(several, list) and several else error.strerror or str(error)


def _open(folder: Path) -> Part:
    manifest = read_manifest(folder)
    if manifest.world_size < 2 or not manifest.run_id:
        raise UsageError(f"{folder} is a run of one process", "give the folders that the hosts of one run wrote")
    if manifest.status == "running":
        raise UsageError(f"{folder} is still being recorded", "merge when the run has ended")
    ranks = {rank: status for rank in layout.rank_numbers(folder) if (status := read_rank(folder, rank)) is not None}
    strange = [each for each in ranks.values() if each.run_id != manifest.run_id]
    if strange:
        raise UnreadableInput(f"rank {strange[0].rank} in {folder} is of another run", "take its folder out, and merge again")
    return Part(folder, manifest, ranks)


def _refuse_strangers(parts: list[Part]) -> None:
    first = parts[0]
    owners: dict[int, Path] = {}
    for part in parts:
        if part.manifest.run_id != first.manifest.run_id:
            raise UsageError(
                f"{first.path} is of run {first.manifest.run_id}, and {part.path} of run {part.manifest.run_id}",
                "give the folders of one run",
            )
        for rank in part.ranks:
            if rank in owners:
                raise UsageError(f"rank {rank} is in {owners[rank]} and in {part.path}", "give each rank's folder once")
            owners[rank] = part.path
    if 0 not in owners:
        raise UsageError(f"none of the {len(parts)} folders holds rank 0, which says what was run", "give that host's folder too")


def _copy(parts: list[Part], whole: Path) -> Manifest:
    base = next(part for part in parts if 0 in part.ranks)
    for name in _SHARED_FILES:
        if (base.path / name).is_file():
            shutil.copy2(base.path / name, whole / name)
    for part in parts:
        for rank in part.ranks:
            ignored = shutil.ignore_patterns(layout.RESERVE, ".*partial*")
            shutil.copytree(layout.rank_dir(part.path, rank), layout.rank_dir(whole, rank), symlinks=True, ignore=ignored)
    manifest = base.manifest
    here = {f"rank{rank}" for part in parts for rank in part.ranks}
    # Said of a rank when its folder was on another host; its own losses come with it.
    manifest.lost = [each for each in manifest.lost if each.what not in here]
    have = set(base.ranks)
    take_in(whole, manifest, known=have)
    manifest.process = {}
    write_atomic(whole / layout.MANIFEST, json.dumps(manifest.to_dict(), indent=1))
    return manifest

"""Merging at bad moments and in bad places: nothing of another's is lost, and what cannot be copied is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from profiler.core.errors import UsageError
from profiler.rundir.manifest import Manifest
from profiler.rundir.merge import merge_runs
from profiler.rundir.ranks import RankStatus, write_rank
from profiler.rundir.reader import read_manifest


@pytest.fixture
def hosts(tmp_path: Path) -> list[Path]:
    """A run of two ranks, one on each host."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for rank, folder in enumerate(folders):
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(Manifest(status="ok", world_size=2, run_id="r").to_dict()))
        write_rank(folder, RankStatus(rank=rank, status="ok", run_id="r", world_size=2))
    return folders


def test_what_a_killed_or_another_merge_has_half_made_stays_and_stops_nobody(tmp_path: Path, hosts: list[Path]):
    half = tmp_path / ".out.partial"
    half.mkdir()
    (half / "run.json").write_text("half")
    merge_runs(hosts, tmp_path / "out")
    assert (half / "run.json").read_text() == "half"
    assert read_manifest(tmp_path / "out").status == "ok"
    assert sorted(each.name for each in tmp_path.iterdir()) == [".out.partial", "a", "b", "out"]


@pytest.mark.parametrize("place", ["a/out", "b/rank1/out", "a/../a/x/out"])
def test_a_run_is_not_merged_into_itself(tmp_path: Path, hosts: list[Path], place: str):
    with pytest.raises(UsageError, match="lies inside"):
        merge_runs(hosts, tmp_path / place)
    assert sorted(each.name for each in hosts[0].iterdir()) == ["rank0", "run.json"]


def test_links_that_turn_in_circles_are_copied_as_links(tmp_path: Path, hosts: list[Path]):
    for name in ("x", "y"):
        (hosts[0] / "rank0" / name).symlink_to(".")
    merge_runs(hosts, tmp_path / "out")
    assert (tmp_path / "out" / "rank0" / "x").is_symlink()


def test_what_cannot_be_copied_is_named(tmp_path: Path, hosts: list[Path]):
    os.mkfifo(hosts[0] / "rank0" / "pipe")
    with pytest.raises(UsageError, match=r"cannot merge into .*rank0/pipe"):
        merge_runs(hosts, tmp_path / "out")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]

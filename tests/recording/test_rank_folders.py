"""Who makes which directory, where ranks share a folder and where they do not: threads stand for the ranks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from profiler.core.errors import UsageError
from profiler.core.launch import Launch
from profiler.recording import ranks as recording_ranks
from profiler.recording.ranks import follows, open_writer
from profiler.rundir.manifest import Manifest
from profiler.rundir.rank_writer import LeadWriter, RankWriter
from profiler.rundir.reader import read_manifest


@dataclass
class Room:
    """Where the threads meet."""

    size: int
    given: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=20)


@dataclass
class ThreadRanks:
    """A Ranks whose ranks are threads."""

    launch: Launch
    room: Room

    def gather(self, mine: Any) -> list[Any]:
        self.room.given[self.launch.rank] = mine
        self.room.barrier.wait()
        found = [self.room.given[rank] for rank in range(self.room.size)]
        self.room.barrier.wait()
        return found


def opened(*outs: str) -> list[LeadWriter | RankWriter | UsageError]:
    """What each rank gets, asked for the directories `outs`."""
    room = Room(len(outs))

    def one(rank: int) -> LeadWriter | RankWriter | UsageError:
        try:
            return open_writer(ThreadRanks(Launch(rank, len(outs), rank), room), outs[rank], Manifest())  # type: ignore[arg-type]
        except UsageError as error:
            return error

    with ThreadPoolExecutor(len(outs)) as pool:
        return list(pool.map(one, range(len(outs))))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_ranks, "_SEEN_WITHIN_S", 0.2)


def test_one_shared_folder_has_one_lead(tmp_path: Path):
    found = opened(str(tmp_path / "run"), str(tmp_path / "run"), "")
    assert [type(each) for each in found] == [LeadWriter, RankWriter, RankWriter]
    assert sorted(path.name for path in (tmp_path / "run").glob("rank*")) == ["rank0", "rank1", "rank2"]
    manifest = read_manifest(tmp_path / "run")
    assert (manifest.world_size, manifest.lost) == (3, [])
    assert {each.manifest.run_id for each in found if not isinstance(each, UsageError)} == {manifest.run_id}


def test_without_one_the_lowest_rank_leads_its_own(tmp_path: Path):
    here, there = str(tmp_path / "a"), str(tmp_path / "b")
    found = opened(here, here, there, there)
    assert [type(each) for each in found] == [LeadWriter, RankWriter, LeadWriter, RankWriter]
    manifests = [read_manifest(Path(path)) for path in (here, there)]
    assert manifests[0].run_id == manifests[1].run_id
    assert [[lost.what for lost in each.lost] for each in manifests] == [["rank2", "rank3"], ["rank0", "rank1"]]
    assert "`merge`" in manifests[0].lost[0].why


def test_a_directory_that_exists_is_refused_by_all(tmp_path: Path):
    (tmp_path / "run").mkdir()
    for each in opened(str(tmp_path / "run"), str(tmp_path / "run")):
        assert isinstance(each, UsageError)
        assert "exists already" in each.message


def test_one_hosts_refusal_undoes_the_others_directory(tmp_path: Path):
    (tmp_path / "b").mkdir()
    for each in opened(str(tmp_path / "a"), str(tmp_path / "b")):
        assert isinstance(each, UsageError)
        assert f"{tmp_path / 'b'} exists already" in each.message
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("error", "secondhand"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:537] Connection reset by peer"), True),
        (RuntimeError("NCCL communicator was aborted on rank 0"), True),
        (KeyboardInterrupt(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("connection"), False),
        (None, False),
    ],
)
def test_what_follows_from_another_ranks_end(error: BaseException | None, secondhand: bool):
    assert follows(error) is secondhand

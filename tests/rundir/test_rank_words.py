"""What the ranks of a run say, and what that makes of the run."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from profiler.core.errors import UnreadableInput
from profiler.rundir import layout
from profiler.rundir.manifest import Failure, Manifest
from profiler.rundir.processes import process_identity
from profiler.rundir.rank_writer import LeadWriter, RankWriter
from profiler.rundir.ranks import RankStatus, bury_rank, judge, missing_ranks, read_rank, read_ranks, write_rank
from profiler.rundir.reader import read_manifest
from profiler.rundir.summary import summarize


@pytest.fixture(scope="module")
def gone() -> dict[str, int]:
    """A process that has ended."""
    child = subprocess.Popen(["true"])
    identity = process_identity(child.pid)
    child.wait()
    return identity


def word(rank: int, status: str, *, message: str = "why", ended: int = 0, **more: Any) -> RankStatus:
    failure = None if status in ("ok", "running") else Failure(type="E", message=message, phase="timed")
    host = more.pop("host", socket.gethostname())
    return RankStatus(rank=rank, host=host, status=status, failure=failure, ended_ns=ended, **more)


def test_all_well():
    assert judge([word(0, "ok"), word(1, "ok")]) == ("ok", None)


def test_the_first_of_its_own_is_the_cause():
    ranks = [word(0, "failed", ended=1, secondhand=True), word(1, "oom", ended=3), word(2, "failed", ended=5)]
    status, failure = judge(ranks)
    assert failure is not None
    assert (status, failure.phase, failure.message) == ("oom", "timed", f"rank 1 on {socket.gethostname()} in timed: why")


def test_a_rank_that_is_gone_comes_before_broken_connections(gone: dict[str, int]):
    ranks = [word(0, "failed", secondhand=True), word(1, "running", phase="traced", process=gone)]
    status, failure = judge(ranks)
    assert failure is not None
    assert (status, failure.phase) == ("failed", "traced")
    assert failure.message == f"rank 1 on {socket.gethostname()}, in traced, is gone and left no word"


def test_of_another_host_only_its_word_is_known(gone: dict[str, int]):
    elsewhere = word(1, "running", host="elsewhere", phase="load", process=gone)
    assert (elsewhere.dead, elsewhere.silent) == (False, True)
    failure = judge([word(0, "interrupted", secondhand=True), elsewhere])[1]
    assert failure is not None
    assert failure.message.startswith("rank 1 on elsewhere, in load, is gone")


def test_all_gone_is_an_interruption(gone: dict[str, int]):
    assert judge([word(rank, "running", process=gone) for rank in (0, 1)])[0] == "interrupted"


def manifest(**more: Any) -> Manifest:
    return Manifest(world_size=2, run_id="abc", process=process_identity(), **more)


def test_the_lead_takes_in_what_the_others_left(tmp_path: Path):
    run = tmp_path / "run"
    lead, other = LeadWriter(run, manifest(), 0), RankWriter(run, manifest(), 1)
    assert (run / "rank1" / layout.RESERVE).exists()
    for writer in (lead, other):
        with writer.artifact(f"rank{writer.rank}/weights.json") as path:
            path.write_text("[]")
    other.manifest.lose("places", "no room")
    other.seal("ok")
    lead.seal("ok")
    found = read_manifest(run)
    assert (found.status, list(found.artifacts)) == ("ok", ["rank0/weights.json", "rank1/weights.json"])
    assert [(each.what, each.why) for each in found.lost] == [("rank1: places", "no room")]
    assert not list(run.rglob(layout.RESERVE))


def test_a_rank_without_a_folder_is_a_named_loss(tmp_path: Path):
    lead = LeadWriter(tmp_path / "run", manifest(), 0)
    lead.seal("ok")
    found = read_manifest(tmp_path / "run")
    assert (found.status, [each.what for each in found.lost]) == ("ok", ["rank1"])
    assert missing_ranks(found, read_ranks(tmp_path / "run")) == [1]


def test_a_lead_that_is_gone_is_read_from_its_ranks(tmp_path: Path, gone: dict[str, int]):
    run = tmp_path / "run"
    LeadWriter(run, Manifest(world_size=2, run_id="abc", process=gone), 0)
    write_rank(run, word(1, "failed", message="it broke", run_id="abc"))
    found = read_manifest(run)
    assert found.failure is not None
    assert (found.status, found.failure.message) == ("failed", f"rank 1 on {socket.gethostname()} in timed: it broke")


def test_a_parents_word_does_not_overwrite_the_ranks_own(tmp_path: Path):
    write_rank(_made(tmp_path), word(1, "oom", message="its own"))
    bury_rank(tmp_path, 1, "killed")
    found = read_rank(tmp_path, 1)
    assert found is not None
    assert found.failure is not None
    assert (found.status, found.failure.message) == ("oom", "its own")


def _made(run: Path) -> Path:
    run.mkdir(exist_ok=True)
    return run


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no status of a rank"),
        ("[]", "no status of a rank"),
        (json.dumps({"rank": "1"}), "no status of a rank"),
        (json.dumps({"rank": 0}), "is of rank 0"),
    ],
)
def test_a_broken_word_is_one_clear_error(tmp_path: Path, text: str, why: str):
    (tmp_path / "rank1").mkdir()
    (tmp_path / "rank1" / "rank.json").write_text(text)
    with pytest.raises(UnreadableInput, match=why):
        read_rank(tmp_path, 1)
    assert read_ranks(tmp_path) == []


def test_the_summary_has_the_calls_of_the_slowest_rank(tmp_path: Path):
    """All ranks begin a call together: it ends with the one that takes longest, and `show` says the same."""
    lead = LeadWriter(tmp_path / "run", manifest(timed={"iterations_ns": [50e6, 60e6], "steps": 4}), 0)
    write_rank(lead.path, word(1, "ok", run_id="abc", timed={"iterations_ns": [70e6, 52e6], "steps": 4}))
    lead.seal("ok")
    text = summarize(lead.path, read_manifest(lead.path))
    assert "  ranks           2; calls of the slowest, all else of rank 0" in text
    assert "  time            65.0 ms a call of 4 steps (median of 2, spread 10.0 ms)" in text
    shutil.rmtree(lead.path / "rank1")
    text = summarize(lead.path, read_manifest(lead.path))
    assert "1 of 2 are here" in text and "55.0 ms a call" in text

"""Writing and reading a run directory: atomic, indexed, and whole after any death."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys

import pytest

from profiler.core.errors import UnreadableInput, UsageError
from profiler.rundir import layout, writer
from profiler.rundir.manifest import Failure, Lost, Manifest, Phase
from profiler.rundir.reader import bury_on_disk, read_manifest
from profiler.rundir.writer import RunWriter, process_identity


def test_a_manifest_survives_the_round_trip(tmp_path):
    manifest = Manifest(
        status="failed",
        created_ns=17,
        spec={"model": "flux-tiny"},
        phases=[Phase(name="load", start_ns=1, end_ns=2, peak_bytes=3), Phase(name="warmup", start_ns=4)],
        lost=[Lost(what="a", why="b", count=2)],
        failure=Failure(type="E", message="m", phase="warmup"),
    )
    RunWriter(tmp_path / "r", manifest)
    assert read_manifest(tmp_path / "r") == manifest


def test_an_artifact_is_indexed_with_its_hash_once_it_is_whole(tmp_path):
    run = RunWriter(tmp_path / "r", Manifest())
    with run.artifact("rank0/trace.json.gz") as path:
        path.write_bytes(b"abc")
        assert not (tmp_path / "r" / "rank0" / "trace.json.gz").exists()
    assert (tmp_path / "r" / "rank0" / "trace.json.gz").read_bytes() == b"abc"
    assert run.manifest.artifacts == {"rank0/trace.json.gz": {"size_bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}}


def test_an_artifact_that_fails_leaves_no_half_and_is_noted(tmp_path):
    run = RunWriter(tmp_path / "r", Manifest())

    def write(path):
        path.write_bytes(b"half")
        raise RuntimeError("no more")

    assert run.try_artifact("rank0/x", write) is False
    assert list((tmp_path / "r" / "rank0").iterdir()) == []
    assert read_manifest(tmp_path / "r").lost == [Lost(what="rank0/x", why="RuntimeError: no more")]


def test_a_directory_that_exists_is_never_written_to(tmp_path):
    with pytest.raises(UsageError, match="exists already"):
        RunWriter(tmp_path, Manifest())
    assert list(tmp_path.iterdir()) == []


def test_on_a_full_disk_the_reserve_is_given_up_for_the_manifest(tmp_path, monkeypatch):
    run = RunWriter(tmp_path / "r", Manifest())
    reserve = tmp_path / "r" / layout.RESERVE
    real = writer.write_atomic

    def full_until_the_reserve_is_gone(path, text):
        if reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, text)

    monkeypatch.setattr(writer, "write_atomic", full_until_the_reserve_is_gone)
    run.manifest.status = "failed"
    run.flush()
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "failed"


def test_sealing_leaves_nothing_of_the_writer(tmp_path):
    RunWriter(tmp_path / "r", Manifest(process=process_identity())).seal("ok")
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["run.json"]
    assert read_manifest(tmp_path / "r").process == {}


def test_a_run_whose_process_is_gone_is_interrupted_where_it_stood(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    identity = process_identity(child.pid)
    child.wait()
    phases = [Phase(name="load", start_ns=1, end_ns=2), Phase(name="warmup", start_ns=3)]
    RunWriter(tmp_path / "r", Manifest(process=identity, phases=phases))
    manifest = read_manifest(tmp_path / "r")
    assert (manifest.status, manifest.failure.phase) == ("interrupted", "warmup")


def test_a_run_whose_process_lives_is_running_unless_the_id_was_reused(tmp_path):
    RunWriter(tmp_path / "a", Manifest(process=process_identity()))
    assert read_manifest(tmp_path / "a").status == "running"
    RunWriter(tmp_path / "b", Manifest(process={"pid": os.getpid(), "start_ticks": 1}))
    assert read_manifest(tmp_path / "b").status == "interrupted"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[]", "is not a diffuscope manifest"),
        ("{}", "is not a diffuscope manifest"),
        ('{"schema_version": 2}', "schema version 2"),
        ('{"schema_version": 1, "phases": 3}', "wrong shape"),
        ('{"schema_version": 1, "phases": [{}]}', "wrong shape"),
    ],
)
def test_manifests_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UnreadableInput, match=message) as caught:
        read_manifest(tmp_path)
    assert caught.value.hint


def test_fields_of_a_later_version_are_left_out(tmp_path):
    raw = Manifest(status="ok", phases=[Phase(name="load", start_ns=1)]).to_dict()
    raw |= {"later": 1, "phases": [raw["phases"][0] | {"later": 2}]}
    (tmp_path / "run.json").write_text(json.dumps(raw))
    assert read_manifest(tmp_path) == Manifest(status="ok", phases=[Phase(name="load", start_ns=1)])


def test_a_run_that_another_process_records_is_not_buried(tmp_path):
    RunWriter(tmp_path / "r", Manifest(process=process_identity()))
    bury_on_disk(tmp_path / "r", "failed", "the recording process was killed")
    assert read_manifest(tmp_path / "r").status == "running"


def test_a_manifest_that_is_a_pipe_or_a_giant_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(UnreadableInput, match="is no file of at most"):
        read_manifest(tmp_path)
    (tmp_path / "run.json").unlink()
    with (tmp_path / "run.json").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(UnreadableInput, match="is no file of at most"):
        read_manifest(tmp_path)

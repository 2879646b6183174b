"""Filing what was recorded elsewhere: bytes kept, hostile inputs refused before anything is written."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
import snapshots

from profiler.core.errors import UnreadableInput, UsageError
from profiler.rundir.reader import read_manifest
from profiler.tables import logfiles
from profiler.tables.importing import Inputs, import_files
from profiler.tables.run import Run

_LOG = b'V1122 13:45:37.291000 407 torch/_dynamo/utils.py:2126] {"chromium_event": {}}\n'


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "snapshot.pickle"
    return snapshots.write(path, snapshots.snapshot([snapshots.event("alloc", 1 << 40, 512, 1)]))


def _tar(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_all_three_are_filed_with_their_hashes(make_trace, gpu_events, snapshot, tmp_path):
    log = _tar(tmp_path / "log.tgz", ("compile_log/a.log", _LOG), ("compile_log/sub/b.log", b"x"))
    trace = make_trace(gpu_events, deviceProperties=[{"id": 0, "name": "NVIDIA H100"}])
    run = import_files(Inputs(trace=trace, memory=snapshot, compile_log=log, timed_ms=12.5), tmp_path / "run")
    manifest = read_manifest(tmp_path / "run")
    assert (manifest.kind, manifest.status, manifest.untraced) == ("import", "ok", {"dur_ns": 12_500_000})
    assert manifest.environment == {"gpu": {"name": "NVIDIA H100", "count": 1}}
    names = {"rank0/trace.json.gz", "rank0/memory.pickle.gz", "rank0/compile_log/a.log", "rank0/compile_log/sub/b.log"}
    assert set(manifest.artifacts) == names
    for name, entry in manifest.artifacts.items():
        content = (tmp_path / "run" / name).read_bytes()
        assert entry == {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert gzip.decompress((run.path / "rank0" / "memory.pickle.gz").read_bytes()) == snapshot.read_bytes()
    assert Run.open(tmp_path / "run").trace().events["gpu"] == 5


def test_gzipped_bytes_are_kept_as_they_are(make_trace, gpu_events, tmp_path):
    packed = tmp_path / "t.json.gz"
    packed.write_bytes(gzip.compress(make_trace(gpu_events).read_bytes(), mtime=7))
    import_files(Inputs(trace=packed), tmp_path / "run")
    assert (tmp_path / "run" / "rank0" / "trace.json.gz").read_bytes() == packed.read_bytes()


def test_a_truncated_trace_is_filed_with_its_loss(make_trace, gpu_events, tmp_path):
    path = make_trace(gpu_events)
    path.write_bytes(path.read_bytes()[:-60])
    run = import_files(Inputs(trace=path), tmp_path / "run")
    assert run.trace().lost == {"the file ends inside an event (truncated file); what came after is unknown": 1}


@pytest.mark.parametrize("timed_ms", [0, -1, float("inf"), float("nan")])
def test_a_time_that_is_none_is_refused(make_trace, tmp_path, timed_ms):
    with pytest.raises(UsageError, match="--timed-ms"):
        import_files(Inputs(trace=make_trace([]), timed_ms=timed_ms), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nothing_to_import_and_a_directory_that_exists_are_refused(make_trace, tmp_path):
    with pytest.raises(UsageError, match="nothing to import"):
        import_files(Inputs(timed_ms=1.0), tmp_path / "run")
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        import_files(Inputs(trace=make_trace([])), tmp_path / "run")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"no pickle", "is no pickle"),
        (b"\x80", "is no pickle"),
        (b"\x80\x04}", "is truncated"),
        (gzip.compress(b"\x80\x04}." * 5000, mtime=0)[:-30], "is truncated|cannot be unpacked"),
        (gzip.compress(gzip.compress(b"\x80\x04}.", mtime=0), mtime=0), "gzipped twice"),
        (b"\x80\x04}.", "is no CUDA memory snapshot: it has no 'segments'"),
        (pickle.dumps({"segments": [], "device_traces": [[]]}), "is empty"),
    ],
)
def test_what_is_no_snapshot_is_refused(tmp_path, content, message):
    path = tmp_path / "s.pickle"
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match=message):
        import_files(Inputs(memory=path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


_CANARY = Path()


class _Hostile:
    def __reduce__(self):
        return (Path.touch, (_CANARY,))


def test_a_hostile_pickle_does_not_run_and_is_not_filed(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "_CANARY", tmp_path / "canary")
    path = snapshots.write(tmp_path / "s.pickle", _Hostile())
    with pytest.raises(UnreadableInput, match=r"s\.pickle cannot be read: the pickle asks for") as caught:
        import_files(Inputs(memory=path), tmp_path / "run")
    assert caught.value.hint == "do not load this file"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["s.pickle"]


def _link(kind):
    info = tarfile.TarInfo("compile_log/link")
    info.type = kind
    info.linkname = "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../evil.log", "outside the folder"),
        ("a/../../evil.log", "outside the folder"),
        ("/tmp/evil.log", "outside the folder"),
        (_link(tarfile.SYMTYPE), "no plain file"),
        (_link(tarfile.LNKTYPE), "no plain file|cannot read|linkname"),
        (_link(tarfile.FIFOTYPE), "no plain file"),
    ],
)
def test_hostile_archives_are_refused_before_anything_is_written(tmp_path, member, message):
    path = _tar(tmp_path / "log.tgz", ("a.log", _LOG), (member, b""))
    with pytest.raises(UnreadableInput, match=message):
        import_files(Inputs(compile_log=path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_archive_that_would_grow_without_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(logfiles, "MAX_BYTES", 1 << 20)
    path = _tar(tmp_path / "log.tgz", ("a.log", _LOG + b"\0" * (1 << 21)))
    with pytest.raises(UnreadableInput, match="holds more than"):
        import_files(Inputs(compile_log=path), tmp_path / "run")


def _zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def test_a_zip_archive_is_filed_like_a_tar_archive(tmp_path):
    path = _zip(tmp_path / "log.zip", ("compile_log/", b""), ("compile_log/a.log", _LOG), ("compile_log/sub/b.log", b"x"))
    import_files(Inputs(compile_log=path), tmp_path / "run")
    folder = tmp_path / "run" / "rank0" / "compile_log"
    assert {each.relative_to(folder).as_posix() for each in folder.rglob("*.log")} == {"a.log", "sub/b.log"}
    assert (folder / "a.log").read_bytes() == _LOG


def _zip_link():
    info = zipfile.ZipInfo("compile_log/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("member", "message"),
    [("../evil.log", "outside the folder"), ("/tmp/evil.log", "outside the folder"), (_zip_link(), "no plain file")],
)
def test_hostile_zip_archives_are_refused_before_anything_is_written(tmp_path, member, message):
    path = _zip(tmp_path / "log.zip", ("a.log", _LOG), (member, b"/etc/passwd"))
    with pytest.raises(UnreadableInput, match=message):
        import_files(Inputs(compile_log=path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_zip_archive_is_bounded_and_a_damaged_or_encrypted_one_is_said(tmp_path, monkeypatch):
    path = _zip(tmp_path / "log.zip", ("a.log", _LOG * 999))
    content = path.read_bytes()
    path.write_bytes(content[:40] + b"\0" * 20 + content[60:])
    with pytest.raises(UnreadableInput, match=r"cannot read|no structured compile log"):
        import_files(Inputs(compile_log=path), tmp_path / "run")
    # Bit 0 of the flags, in the directory at the end: the member needs a password.
    at = content.rindex(b"PK\x01\x02") + 8
    path.write_bytes(content[:at] + b"\1\0" + content[at + 2 :])
    with pytest.raises(UnreadableInput, match="no plain file"):
        import_files(Inputs(compile_log=path), tmp_path / "run")
    monkeypatch.setattr(logfiles, "MAX_BYTES", 1 << 10)
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match="holds more than"):
        import_files(Inputs(compile_log=path), tmp_path / "run")


def test_a_gzipped_log_is_one(tmp_path):
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(_LOG * 99, mtime=0))
    run = import_files(Inputs(compile_log=path), tmp_path / "run")
    assert (run.path / "rank0" / "compile_log" / "a.log.gz").read_bytes() == path.read_bytes()
    path.write_bytes(gzip.compress(b"hello", mtime=0))
    with pytest.raises(UnreadableInput, match="no structured compile log"):
        import_files(Inputs(compile_log=path), tmp_path / "run2")


@pytest.mark.parametrize("content", [b"", b"hello\n", b'{"a": 1}\n'])
def test_what_is_no_compile_log_is_refused(tmp_path, content):
    path = tmp_path / "x.log"
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match="no structured compile log"):
        import_files(Inputs(compile_log=path), tmp_path / "run")


def test_a_truncated_archive_and_a_missing_log_are_clear_errors(tmp_path):
    path = _tar(tmp_path / "log.tgz", ("a.log", _LOG * 5000))
    path.write_bytes(path.read_bytes()[:-40])
    for bad in (path, tmp_path / "none"):
        with pytest.raises(UnreadableInput, match="cannot read"):
            import_files(Inputs(compile_log=bad), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("shape", ["file", "folder"])
def test_a_log_may_be_a_file_or_a_folder(tmp_path, shape):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.log").write_bytes(_LOG)
    import_files(Inputs(compile_log=folder / "a.log" if shape == "file" else folder), tmp_path / "run")
    assert (tmp_path / "run" / "rank0" / "compile_log" / "a.log").read_bytes() == _LOG


def test_a_folder_with_a_link_is_refused(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.log").write_bytes(_LOG)
    (folder / "b.log").symlink_to("/etc/passwd")
    with pytest.raises(UnreadableInput, match="holds a link"):
        import_files(Inputs(compile_log=folder), tmp_path / "run")


def test_the_real_artifacts_are_filed(shared, tmp_path):
    h100 = shared / "h100"
    given = Inputs(
        trace=h100 / "flux_small_item_breaks.trace.json.gz",
        memory=h100 / "flux_dev_fp8dqrow_regional.snapshot.pickle.gz",
        compile_log=h100 / "flux_small_item_breaks.compile_log.tgz",
    )
    run = import_files(given, tmp_path / "run")
    assert run.trace().events["python"] == 9937
    logs = list((run.path / "rank0" / "compile_log").iterdir())
    assert [path.stat().st_size for path in logs] == [19_697_932]


@pytest.mark.parametrize("kind", ["memory", "compile_log"])
def test_pipes_and_devices_are_refused_before_they_are_read(tmp_path, kind):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UnreadableInput, match="is a pipe or a device"):
            import_files(Inputs(**{kind: path}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_name_that_no_folder_can_hold_is_not_blamed_on_space(tmp_path):
    path = _tar(tmp_path / "log.tgz", ("a" * 300 + ".log", _LOG))
    with pytest.raises(UnreadableInput, match="cannot file into") as caught:
        import_files(Inputs(compile_log=path), tmp_path / "run")
    assert "space" not in caught.value.hint

"""The cache: made once, safe to delete, never of another file, never half."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from profiler.core.errors import UnreadableInput
from profiler.tables import cache, trace
from profiler.tables.trace import open_trace


@pytest.fixture
def reads(monkeypatch):
    """Names of the traces that were really read."""
    seen = []
    real = trace.write_tables

    def counting(path, *args):
        seen.append(path.name)
        return real(path, *args)

    monkeypatch.setattr(trace, "write_tables", counting)
    return seen


def test_a_trace_is_read_once(make_trace, gpu_events, tmp_path, reads):
    path = make_trace(gpu_events)
    first, second = open_trace(path, tmp_path / "cache"), open_trace(path, tmp_path / "cache")
    assert (len(reads), first) == (1, second)
    assert second.frame("gpu").height == 5


def test_a_changed_trace_is_read_again(make_trace, gpu_events, tmp_path, reads):
    open_trace(make_trace(gpu_events), tmp_path / "cache")
    path = make_trace(gpu_events[:3])
    os.utime(path, ns=(1, 1))
    assert open_trace(path, tmp_path / "cache").events["gpu"] == 1
    assert len(reads) == 2


def test_a_cache_of_another_version_is_read_again(make_trace, gpu_events, tmp_path, reads, monkeypatch):
    path = make_trace(gpu_events)
    open_trace(path, tmp_path / "cache")
    monkeypatch.setattr(cache, "CACHE_VERSION", cache.CACHE_VERSION + 1)
    open_trace(path, tmp_path / "cache")
    assert len(reads) == 2


@pytest.mark.parametrize("harm", ["delete all", "delete a table", "cut a table", "garble facts"])
def test_a_damaged_cache_is_made_anew(make_trace, gpu_events, tmp_path, reads, harm):
    path = make_trace(gpu_events)
    folder = open_trace(path, tmp_path / "cache").folder
    table = next(folder.glob("gpu-*.parquet"))
    if harm == "delete all":
        shutil.rmtree(tmp_path / "cache")
    elif harm == "delete a table":
        table.unlink()
    elif harm == "cut a table":
        table.write_bytes(table.read_bytes()[:-9])
    else:
        (folder / "facts.json").write_text("{")
    assert open_trace(path, tmp_path / "cache").frame("gpu").height == 5
    assert len(reads) == 2


def test_a_failed_read_leaves_nothing_behind(make_trace, tmp_path):
    path = make_trace([])
    path.write_text("no trace")
    with pytest.raises(UnreadableInput):
        open_trace(path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_the_run_cannot_be_written_a_temporary_folder_serves(make_trace, gpu_events, tmp_path, monkeypatch, reads):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # A file where the folder should be: refused whoever asks, root too.
    (tmp_path / "run").write_text("")
    path = make_trace(gpu_events)
    first = open_trace(path, tmp_path / "run" / "cache")
    assert first.folder.is_relative_to(tmp_path / f"diffuscope-cache-{os.getuid()}")
    assert open_trace(path, tmp_path / "run" / "cache").frame("gpu").height == 5
    assert len(reads) == 1


def test_two_runs_of_one_name_do_not_share_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "run").write_text("")
    assert cache.writable_dir(tmp_path / "run" / "a") != cache.writable_dir(tmp_path / "run" / "b")


def test_full_disk_reads_through_the_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "cache"
    other = tmp_path / "tmp"
    other.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(other))

    def fill(folder: Path) -> dict[str, int]:
        if asked in folder.parents:
            raise OSError(errno.ENOSPC, "No space left on device")
        (folder / "rows").write_text("12")
        return {"rows": 1}

    found = cache.store(asked, "trace-rank0", {"of": "this"}, fill)
    assert other in found.parents
    assert cache.find(asked, "trace-rank0", {"of": "this"}) == found
    assert list(asked.iterdir()) == []


def test_no_room_anywhere_is_one_clear_error(tmp_path: Path) -> None:
    def fill(folder: Path) -> dict[str, int]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UnreadableInput, match=r"no room for the tables of trace-rank0"):
        cache.store(tmp_path / "cache", "trace-rank0", {}, fill)


@pytest.mark.parametrize(("again", "kept"), [(False, "first"), (True, "second")])
def test_what_another_process_made_meanwhile_stays_for_its_readers(tmp_path: Path, again: bool, kept: str) -> None:
    def quick(folder: Path) -> dict[str, int]:
        (folder / "rows").write_text("first")
        return {}

    def slow(folder: Path) -> dict[str, int]:
        cache.store(tmp_path, "trace-rank0", {"of": "this"}, quick)
        (folder / "rows").write_text("second")
        return {}

    found = cache.store(tmp_path, "trace-rank0", {"of": "this"}, slow, again=again)
    assert (found / "rows").read_text() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["trace-rank0"]

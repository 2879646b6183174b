"""Hostile and broken snapshots: one clear error each, from a process that neither runs, grows nor dies of them."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_pickles import BROKEN, CANARY, HUNGRY, LARGE, RUNS_CODE
from hostile_snapshots import WRONG
from snapshots import event, snapshot, write

from profiler.core.errors import UnreadableInput
from profiler.tables import snapshot_process
from profiler.tables.snapshot import open_snapshot
from profiler.tables.snapshot_process import read_snapshot

_HERE = Path(__file__).parent
_HAND_MADE = {**RUNS_CODE, **BROKEN, **HUNGRY}
# By name: the bytes of each, made when the test asks.
_FILES = (
    {f"pickle-{number}": (lambda data=data: data) for number, data in enumerate(_HAND_MADE.values())}
    | {f"gzipped-{number}": (lambda data=data: gzip.compress(data, mtime=0)) for number, data in enumerate(RUNS_CODE.values())}
    | {f"large-{number}": make for number, make in enumerate(LARGE.values())}
    | {f"wrong-{number}": make for number, (make, _) in enumerate(WRONG.values())}
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """What came of every file, opened one after the other in one process."""
    folder = tmp_path_factory.mktemp("hostile") / "files"
    folder.mkdir()
    for name, make in _FILES.items():
        (folder / name).write_bytes(make())
    path = os.pathsep.join([str(_HERE), str(_HERE.parent)])
    done = subprocess.run(
        [sys.executable, str(_HERE / "hostile_snapshots.py"), str(folder)],
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"folder": folder.parent}


def test_there_are_enough_of_them():
    assert len(RUNS_CODE) >= 25
    assert len(_HAND_MADE) + len(LARGE) >= 60
    assert len(WRONG) >= 50


@pytest.mark.parametrize("name", _FILES)
def test_each_is_one_error_that_names_the_file_and_what_to_do(opened, name):
    outcome, message, hint = opened["found"][name]
    assert outcome == "refused"
    assert str(opened["folder"] / "files" / name) in message
    assert "\n" not in message
    assert len(message) < 700
    assert hint
    assert "process that reads it failed" not in message, "an error of the reader, not of the file"


@pytest.mark.parametrize(("number", "what"), list(enumerate(WRONG)), ids=list(WRONG))
def test_the_error_says_what_is_wrong(opened, number, what):
    _, message, _ = opened["found"][f"wrong-{number}"]
    assert re.search(WRONG[what][1], message), message


def test_none_ran_and_none_left_anything(opened):
    left = {path.name for path in opened["folder"].rglob("*")} - set(_FILES)
    assert CANARY not in left
    assert left == {"files", "cache"}


def test_the_process_that_asked_has_not_grown(opened):
    """120 files, some of which ask for gigabytes: the parent holds an error message of each."""
    assert len(opened["found"]) == len(_FILES)
    assert opened["grown_mb"] < 16


def test_a_crash_of_the_child_is_an_error_of_the_file(opened):
    """Deep nesting: the child dies of it, or says so."""
    for number, what in enumerate(LARGE):
        if what.startswith("deep"):
            _, message, _ = opened["found"][f"large-{number}"]
            assert re.search("killed by SIGSEGV|no whole pickle|not records only|has no 'segments'", message), (what, message)


def test_a_deep_key_kills_a_child_and_no_one_else(opened):
    """The one that shows why there is a child at all."""
    _, message, hint = opened["found"][f"large-{list(LARGE).index('deep tuple as a key')}"]
    assert "was killed by SIGSEGV" in message
    assert "do not trust this file" in hint


def test_a_child_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot_process, "_WALL_S", 0.001)
    path = write(tmp_path / "s.pickle", snapshot([event("alloc", 1 << 40, 512, 1)]))
    with pytest.raises(UnreadableInput, match=r"s\.pickle takes longer than 0 s to read"):
        read_snapshot(path, tmp_path, 0)


def test_a_child_out_of_time_says_so(tmp_path):
    with (tmp_path / "stderr").open("w+b") as stderr:
        assert "more time than a snapshot of its size may" in snapshot_process._why(-signal.SIGXCPU, stderr)
        stderr.write(b"first\nmemory allocation of 99 bytes failed\n")
        why = snapshot_process._why(-signal.SIGABRT, stderr)
    assert why.startswith("the process that reads it was killed by SIGABRT")
    assert "memory allocation of 99 bytes failed" in why


def test_the_working_directory_lends_no_module(tmp_path, monkeypatch):
    """A folder with snapshots may hold files that look like libraries."""
    monkeypatch.chdir(tmp_path)
    for name in ("polars", "pickle", "profiler", "isal", "json"):
        (tmp_path / f"{name}.py").write_text(f"open('{CANARY}', 'w')")
    path = write(tmp_path / "s.pickle", snapshot([event("alloc", 1 << 40, 512, 1)]))
    assert open_snapshot(path, tmp_path / "cache").rows["events"] == 1
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize("what", ["missing", "folder", "pipe"])
def test_what_is_no_file_is_refused(tmp_path, what):
    path = tmp_path / "s.pickle"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    with pytest.raises(UnreadableInput, match=r"s\.pickle"):
        open_snapshot(path, tmp_path / "cache")

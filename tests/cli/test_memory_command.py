"""`memory` and the memory of `show` from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rules"))

from memory_runs import Call
from memory_tape import phase

from profiler.cli import waiting
from profiler.cli.app import run as run_command
from profiler.rundir.manifest import Manifest
from profiler.rundir.writer import RunWriter


@pytest.fixture
def run(tmp_path):
    """A run directory on disk, manifest and all."""
    made = Call().write(tmp_path / "made")
    manifest = Manifest(status="ok", phases=[phase("memory", 0, 9_000_000)])
    RunWriter(tmp_path / "run", manifest).seal("ok")
    (made.path / "rank0").rename(tmp_path / "run" / "rank0")
    return tmp_path / "run"


def _run(capsys, *arguments):
    code = run_command([str(each) for each in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out, captured.err


def test_the_text_ends_with_the_next_command(run, capsys):
    code, out, err = _run(capsys, "memory", run)
    assert (code, err) == (0, "")
    assert "the peak: 0.176 GiB requested in decode" in out
    assert out.rstrip().endswith(f"next: diffuscope diagnose {run}")


def test_the_json_is_only_json(run, capsys):
    code, out, err = _run(capsys, "memory", run, "--by", "component", "--top", "2", "--json")
    data = json.loads(out)
    assert (code, err, data["by"], len(data["peak"]["rows"])) == (0, "", "component", 2)
    assert data["peak"]["requested_bytes"] == 180 << 20


def test_a_part_that_was_not_recorded_is_said(run, capsys):
    code, out, err = _run(capsys, "memory", run, "--part", "load")
    assert (code, out) == (2, "")
    assert "holds no rank0/memory_load.pickle.gz" in err


@pytest.mark.parametrize(("option", "value"), [("--part", "all"), ("--by", "stack")])
def test_a_wrong_choice_is_one_error(run, option, value, capsys):
    code, out, err = _run(capsys, "memory", run, option, value)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {option} {value} is not known\n  choose from: ")


def test_show_leads_on_to_memory_where_there_is_no_trace(run, capsys):
    code, out, _ = _run(capsys, "show", run)
    assert code == 0 and "at the memory peak (in decode), GiB: weights 0.146, activations 0.029" in out
    assert out.rstrip().endswith(f"next: diffuscope memory {run}")


def test_a_snapshot_that_cannot_be_read_is_named_by_show_and_refused_by_memory(run, capsys):
    (run / "rank0" / "memory.pickle.gz").write_bytes(b"no snapshot")
    code, out, _ = _run(capsys, "show", run)
    assert code == 0 and "no memory breakdown:" in out
    code, out, err = _run(capsys, "memory", run)
    assert (code, out) == (2, "") and err.startswith("error: ")
    code, out, _ = _run(capsys, "diagnose", run)
    assert code == 0 and "memory: nothing found" in out and "memory.pickle.gz is no pickle: " in out


def test_a_long_first_reading_is_announced_once(run, capsys, monkeypatch):
    monkeypatch.setattr(waiting, "_LARGE_BYTES", 1)
    _, out, err = _run(capsys, "memory", run, "--json")
    assert err.startswith(f"reading {run / 'rank0' / 'memory.pickle.gz'} (0.0 MiB) for the first time") and json.loads(out)
    _, _, err = _run(capsys, "memory", run, "--json")
    assert err == ""

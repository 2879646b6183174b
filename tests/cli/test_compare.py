"""`compare` as a user calls it: exit codes, one error, JSON alone, names that are no text."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest

from profiler.cli.app import run as run_command

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / each) for each in ("metrics", "rules")]


@pytest.fixture
def runs(tmp_path):
    """Two run directories with one busy step each; the second is faster."""
    from small_runs import NVJET, busy, write_run

    return [write_run(tmp_path / name, busy([(NVJET, dur)])).path for name, dur in (("base", 999), ("new", 499))]


def compare(capsys, *arguments):
    """Exit code, stdout and stderr; a traceback anywhere is a failure."""
    code = run_command(["compare", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out, captured.err


def test_text_ends_with_the_next_command(runs, capsys):
    code, out, err = compare(capsys, *runs)
    assert (code, err) == (0, "")
    assert out.startswith(f"{runs[1]} against {runs[0]}\n")
    assert "time     REAL: a step takes 0.50 ms, not 1.00 ms, 2.00 times as fast" in out
    assert out.rstrip().endswith(f"next: diffuscope diagnose {runs[1]} --base {runs[0]}")


def test_json_is_only_json(runs, capsys):
    code, out, err = compare(capsys, *runs, "--json")
    data = json.loads(out)
    assert (code, err, data["base"]) == (0, "", str(runs[0]))
    step = data["comparisons"][0]["time"]["windows"][0]
    assert (step["base_ms"], step["new_ms"], step["delta_ms"]) == (1.0, 0.5, -0.5)


def test_a_run_against_itself_changes_nothing(runs, capsys):
    code, out, _ = compare(capsys, runs[0], runs[0], "--json")
    (found,) = json.loads(out)["comparisons"]
    assert code == 0
    assert all(row["delta_ms"] == 0 and row["status"] == "about the same" for row in found["time"]["windows"][0]["kernels"])


def test_one_run_is_not_enough_and_windows_are_named(runs, capsys):
    code, out, err = compare(capsys, runs[0])
    assert (code, out) == (2, "") and "NEW" in err
    code, out, err = compare(capsys, *runs, "--window", "warmup")
    assert (code, out) == (2, "") and "--window warmup is not known" in err


@pytest.mark.parametrize("text", [None, "{", "[]", '{"schema_version": 99}', '{"schema_version": 1, "phases": 3}'])
def test_an_unreadable_run_is_named(runs, tmp_path, text, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    if text is not None:
        (broken / "run.json").write_text(text)
    for order in ((runs[0], broken), (broken, runs[0]), (*runs, broken)):
        code, out, err = compare(capsys, *order)
        assert (code, out) == (2, "") and err.count("error: ") == 1 and str(broken) in err


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no gzip",
        gzip.compress(b'{"traceEvents": [', mtime=0),
        gzip.compress(b"[1, 2]", mtime=0),
        gzip.compress(b"x", mtime=0),
    ],
)
def test_a_trace_that_is_none_leaves_the_rest(runs, raw, capsys):
    (runs[1] / "rank0" / "trace.json.gz").write_bytes(raw)
    code, out, _ = compare(capsys, *runs)
    assert code == 0 and "memory" in out


@pytest.mark.parametrize(
    "name", ["rank0/memory.pickle.gz", "rank0/memory.json.gz", "rank0/weights.json", "output.npz", "output.png"]
)
@pytest.mark.parametrize("raw", [b"", b"\x80\x04garbage", gzip.compress(b"\x80\x04cposix\nsystem\n.", mtime=0)])
def test_any_broken_artifact_leaves_the_rest(runs, name, raw, capsys):
    (runs[1] / name).write_bytes(raw)
    code, out, err = compare(capsys, *runs)
    assert (code, err) == (0, "") and "time     REAL: " in out


def test_names_that_are_markup_do_not_become_any(tmp_path, capsys):
    from small_runs import busy, write_run

    name = "<b>[red]x[/red]\x1b[31m gemm"
    paths = [write_run(tmp_path / each, busy([(name, dur)])).path for each, dur in (("a", 99), ("b", 49))]
    code, out, _ = compare(capsys, *paths)
    assert code == 0 and "[red]x[/red]" in out and "\x1b" not in out


def test_comparing_needs_neither_torch_nor_diffusers(runs, tmp_path):
    from processes import diffuscope, loaded

    folder = tmp_path / "modules"
    folder.mkdir()
    done = diffuscope("compare", *runs, MODULES_AT_EXIT=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert all({"torch", "diffusers", "torchao"}.isdisjoint(each.modules) for each in loaded(folder))
    assert any("profiler.report.compare" in each for each in loaded(folder))

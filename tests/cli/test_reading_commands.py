"""`show`, `import` and `runs` as a user calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import diffuscope

from profiler.cli.app import run as run_command
from profiler.rundir.manifest import Manifest
from profiler.rundir.writer import RunWriter

ROOT = Path(__file__).resolve().parents[2]
_GOLDEN = ROOT / "traces" / "flux-dev-bf16"


@pytest.fixture
def imported(make_trace, gpu_events, tmp_path, capsys):
    path = tmp_path / "runs" / "a"
    assert run_command(["import", str(make_trace(gpu_events)), "-o", str(path)]) == 0
    capsys.readouterr()
    return path


def test_import_prints_the_summary_and_the_next_command(make_trace, gpu_events, tmp_path, capsys):
    assert run_command(["import", str(make_trace(gpu_events)), "--timed-ms", "2", "-o", str(tmp_path / "r")]) == 0
    out = capsys.readouterr().out
    assert "GEMM bf16" in out and "untraced 2.0 ms" in out
    assert out.rstrip().endswith(f"next: diffuscope diagnose {tmp_path / 'r'}")


def test_import_as_json_is_only_json(make_trace, tmp_path, capsys):
    assert run_command(["import", str(make_trace([])), "-o", str(tmp_path / "r"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": str(tmp_path / "r"), "status": "ok"}


def test_import_names_its_run_itself_and_never_overwrites(make_trace, tmp_path, capsys, monkeypatch):
    trace = make_trace([], name="my trace.json")
    monkeypatch.chdir(tmp_path)
    for expected in ("traces/import-my-trace", "traces/import-my-trace-2"):
        assert run_command(["import", str(trace), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["run"] == expected


@pytest.mark.parametrize(
    "arguments",
    [
        *(["import"], ["import", "none.json"], ["show", "none"], ["show", "."], ["runs", "none"], ["show"], ["show", "--no"]),
        *(["ranks", ".", "--time-limit", "inf"], ["ranks", ".", "--time-limit", "nan"], ["ranks", ".", "--time-limit", "1e309"]),
        *(["sweep", "flux-tiny", "--time-limit", "inf", "-o", "s"], ["sweep", "flux-tiny", "--limit-s", "inf", "-o", "s"]),
        ["explain", "flux-tiny", "--vary", "size,,batch"],
    ],
)
def test_wrong_usage_and_unreadable_input_exit_2_without_a_traceback(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "rror: " in captured.err and "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_show_as_json_and_as_text(imported, capsys):
    assert run_command(["show", str(imported), "--json", "--top", "1"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["run"], data["status"], len(data["kernels"])) == (str(imported), "ok", 1)
    assert run_command(["show", str(imported)]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"next: diffuscope diagnose {imported}")


def test_runs_lists_broken_directories_with_their_errors(imported, capsys):
    folder = imported.parent
    for name, text in (("b", "{"), ("c", '{"schema_version": 99}'), ("d", "[]")):
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(text)
    (folder / "e" / "rank0").mkdir(parents=True)
    (folder / "no run").mkdir()
    assert run_command(["runs", str(folder), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["runs"]}
    assert list(rows) == ["a", "b", "c", "d", "e"]
    assert (rows["a"]["kind"], rows["a"]["status"], rows["a"]["error"]) == ("import", "ok", None)
    assert "is not JSON" in rows["b"]["error"]
    assert "schema version 99" in rows["c"]["error"]
    assert "is not a diffuscope manifest" in rows["d"]["error"]
    assert "holds no run.json" in rows["e"]["error"]
    assert run_command(["runs", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.count("unreadable") == 4
    assert out.rstrip().endswith(f"next: diffuscope show {imported}")


def test_the_next_command_of_runs_shows_the_newest(tmp_path, capsys):
    for name, created in (("a", 1), ("b", 3), ("c", 2)):
        RunWriter(tmp_path / name, Manifest(created_ns=created)).seal("ok")
    assert run_command(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"next: diffuscope show {tmp_path / 'b'}")


def test_names_in_a_trace_cannot_drive_the_terminal(make_trace, tmp_path, capsys):
    name = "\x1b]0;pwn\x07k\nnext: rm -rf x"
    trace = make_trace([{"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 7, "ts": 1, "dur": 2}])
    assert run_command(["import", str(trace), "-o", str(tmp_path / "r")]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and r"\x1b]0;pwn\x07k next: rm" in out
    assert [line for line in out.splitlines() if line.startswith("next:")] == [f"next: diffuscope diagnose {tmp_path / 'r'}"]


def test_a_terminal_without_the_characters_gets_the_rest(imported, tmp_path):
    done = diffuscope("show", imported, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "GEMM bf16" in done.stdout


def test_runs_of_an_empty_folder_says_so(tmp_path, capsys):
    assert run_command(["runs", str(tmp_path)]) == 0
    assert "holds no runs" in capsys.readouterr().out


def test_the_golden_runs_are_listed_with_their_numbers(capsys):
    if not _GOLDEN.is_dir():
        pytest.skip("no golden run in traces/")
    assert run_command(["runs", str(ROOT / "traces"), "--json"]) == 0
    row = next(row for row in json.loads(capsys.readouterr().out)["runs"] if row["name"] == "flux-dev-bf16")
    assert (row["model"], row["scheme"], row["gpu"]) == ("flux-dev", "bf16", "NVIDIA H100 80GB HBM3")
    assert row["model_gib"] == pytest.approx(31.44, abs=0.05)
    assert row["inference_peak_gib"] == pytest.approx(33.85, abs=0.05)
    assert row["median_ms"] == pytest.approx(5268.2, abs=0.1)


_LOADED = """
import sys
from profiler.cli.app import run
code = run(sys.argv[1:])
print(code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def _modules_after(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    code, *modules = done.stderr.splitlines()[-1].split()
    assert code == "0"
    return set(modules)


def test_show_loads_no_torch_and_runs_and_help_no_polars_either(imported):
    shown = _modules_after("show", str(imported))
    assert "polars" in shown and not shown & {"torch", "streamlit", "pandas"}
    for arguments in (("runs", str(imported.parent)), ("--help",), ("show", "--help")):
        assert not _modules_after(*arguments) & {"torch", "polars", "streamlit", "pandas"}

"""`report` as a user calls it: where the file goes, what is never written over, what it prints; and colours on a terminal."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "metrics"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rules"))

from processes import command as command_line
from processes import environment
from small_runs import NVJET, busy, write_run
from sweep_folders import manifest, spec
from sweep_folders import write_run as write_manifest

from profiler.cli import terminal
from profiler.cli.app import run as run_command


@pytest.fixture
def step(tmp_path: Path) -> Path:
    """A run directory with one busy step."""
    return write_run(tmp_path / "step", busy([(NVJET, 999)])).path


def report(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; a traceback anywhere is a failure."""
    code = run_command(["report", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out, captured.err


def refused(capsys, *arguments: object, says: str) -> None:
    code, out, err = report(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("error: ") == 1 and says in err, err


def test_the_file_lies_in_the_run_unless_told(step: Path, capsys):
    code, out, err = report(capsys, step)
    assert (code, err) == (0, "")
    assert (step / "report.html").read_text().startswith("<!doctype html>")
    assert f"{step / 'report.html'}  (" in out and "holds: diagnosis, kernels" in out
    assert f"not in it: memory: {step} holds no rank0/memory.pickle.gz" in out
    assert out.rstrip().endswith(f"next: diffuscope diagnose {step}")


def test_json_says_what_was_written(step: Path, tmp_path: Path, capsys):
    target = tmp_path / "new" / "folder" / "mine.HTML"
    code, out, err = report(capsys, step, "-o", target, "--json")
    data = json.loads(out)
    assert (code, err) == (0, "")
    assert data.pop("missing")[0]["section"] == "memory"
    assert data == {
        "run": str(step),
        "status": "ok",
        "file": str(target),
        "size_bytes": target.stat().st_size,
        "sections": ["diagnosis", "kernels"],
    }


def test_what_exists_is_replaced_only_when_told(step: Path, tmp_path: Path, capsys):
    target = tmp_path / "mine.html"
    target.write_text("precious")
    refused(capsys, step, "-o", target, says=f"{target} exists already\n  replace it with --force")
    assert target.read_text() == "precious"
    assert report(capsys, step, "-o", target, "--force")[0] == 0
    assert "precious" not in target.read_text()


@pytest.mark.parametrize("name", ["run.json", "rank0/trace.json.gz", "report"])
def test_no_slip_of_the_hand_writes_over_a_recording(step: Path, name: str, capsys):
    before = {path: path.read_bytes() for path in step.rglob("*") if path.is_file()}
    refused(capsys, step, "-o", step / name, "--force", says="does not end in .html")
    assert {path: path.read_bytes() for path in step.rglob("*") if path.is_file()} == before


def test_a_place_that_cannot_be_written(step: Path, tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    refused(capsys, step, "-o", tmp_path / "file" / "a.html", says="cannot write")
    (tmp_path / "folder.html").mkdir()
    refused(capsys, step, "-o", tmp_path / "folder.html", says="is a folder")
    refused(capsys, step, "-o", tmp_path / f"{'x' * 300}.html", says="error: ")


def test_no_run_and_a_broken_one(tmp_path: Path, step: Path, capsys):
    refused(capsys, tmp_path / "none", says="is no run directory")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    refused(capsys, tmp_path / "broken", says="is not JSON")
    refused(capsys, step, "--base", tmp_path / "broken", says="is not JSON")
    assert not (step / "report.html").exists() and not (tmp_path / "broken" / "report.html").exists()


def test_a_base_brings_the_comparison(step: Path, tmp_path: Path, capsys):
    base = write_run(tmp_path / "base", busy([(NVJET, 1999)])).path
    code, out, _ = report(capsys, step, "--base", base, "--json")
    assert code == 0 and json.loads(out)["sections"] == ["comparison", "diagnosis", "kernels"]
    assert f"{step} against {base}" in (step / "report.html").read_text()


def test_a_folder_of_runs_is_reported_as_one_table(tmp_path: Path, capsys):
    for scheme in ("int8wo", "fp8wo"):
        write_manifest(tmp_path / "runs" / scheme, manifest(spec(scheme)))
    code, out, err = report(capsys, tmp_path / "runs", "--json")
    assert (code, err, json.loads(out)["sections"]) == (0, "", ["sweep"])
    assert "2 of 2" in re.sub(r"<[^>]+>", " ", (tmp_path / "runs" / "report.html").read_text()).replace("  ", " ")
    assert report(capsys, tmp_path / "runs")[0] == 2, "it exists"


def test_a_report_needs_no_more_than_what_reads_a_run(step: Path):
    code = "import sys; from profiler.cli.app import run; sys.exit(run(sys.argv[1:]) or print(*sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, "report", str(step), "--json"], env=environment(), capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "polars" in loaded
    assert not loaded & {"torch", "numpy", "streamlit", "plotly", "pandas", "jinja2", "playwright"}


def test_exactly_these_options(capsys):
    assert run_command(["report", "--help"]) == 0
    out = capsys.readouterr().out
    assert set(re.findall(r"^ +(?:-o, )?(--[a-z-]+)", out, re.MULTILINE)) == {
        "--out",
        "--base",
        "--rank",
        "--force",
        "--json",
        "--help",
    }


def on_a_terminal(*arguments: str | Path, **more: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = os.openpty()
    variables = {key: value for key, value in environment().items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    variables |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | more
    child = subprocess.Popen(command_line(*arguments), env=variables, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    said = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            more_said = os.read(ours, 1 << 16)
        except OSError:
            break
        said += more_said
    os.close(ours)
    assert child.wait(60) == 0
    return said.decode().replace("\r\n", "\n")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_a_terminal_gets_colours_and_nobody_else(step: Path, capsys):
    assert run_command(["diagnose", str(step)]) == 0
    plain = capsys.readouterr().out
    assert "\x1b" not in plain
    shown = on_a_terminal("diagnose", step)
    # #0072B2, of GEMM bf16 on every page, a little lighter for letters; the bar as it is.
    assert re.search(r"\x1b\[38;2;\d+;\d+;\d+mGEMM bf16\x1b\[0m", shown)
    assert "\x1b[38;2;0;114;178m█" in shown
    assert re.sub(r"\x1b\[[\d;]*m", "", shown) == plain


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False), ({"FORCE_COLOR": "1"}, True)],
)
def test_who_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: bool):
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert terminal.coloured() == wanted
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert not terminal.coloured()


def test_json_is_plain_on_a_terminal_too(step: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(terminal, "coloured", lambda: True)
    assert run_command(["diagnose", str(step), "--json"]) == 0
    assert "\x1b" not in capsys.readouterr().out

"""A recording that dies, by every way there is: the directory opens, says where it was, and keeps what it had."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import QUICK, ROOT, diffuscope, recorded, show, start


@contextmanager
def held(tmp_path: Path, moment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """(the command, its recording child's pid) of a `record` that waits at a moment: while loading, or before a forward."""
    here = tmp_path / "here"
    run = ("record", "pipelines:waiting", *QUICK, "-o", tmp_path / "run", "--json")
    parent = start(*run, cwd=tmp_path, WAIT_FILE=str(here), WAIT_AT=moment)
    try:
        while not here.exists() or not here.read_text():
            assert parent.poll() is None, parent.communicate()[1]
            time.sleep(0.05)
        yield parent, int(here.read_text())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            parent.communicate(timeout=5)


def wait_for_end(pid: int) -> None:
    """Until a process that is not ours to wait for has died; it may stay a zombie, which is dead enough."""
    with contextlib.suppress(OSError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.02)


def ending(parent: subprocess.Popen[str], run: Path) -> dict[str, Any]:
    """The command has ended as a recording that failed must; returns what `show` says of its run."""
    out, err = parent.communicate(timeout=60)
    assert parent.returncode == 3, err
    shown = show(run)
    assert json.loads(out) == {"run": str(run), "status": shown["status"]}
    assert "error: the recorded run ended as" in err
    assert f"{run} holds what was recorded" in err
    assert "Traceback" not in err
    return shown


@pytest.mark.parametrize(
    ("moment", "phase", "kept"),
    [
        ("load", "load", []),
        ("2", "timed", ["output.npz"]),
        ("10", "memory", ["output.npz", "output.png", "rank0/trace.json.gz", "rank0/places.json.gz"]),
    ],
)
def test_a_killed_child(tmp_path: Path, moment: str, phase: str, kept: list[str]):
    with held(tmp_path, moment) as (parent, child):
        os.kill(child, signal.SIGKILL)
        shown = ending(parent, tmp_path / "run")
    assert shown["status"] == "failed"
    assert "killed by SIGKILL" in shown["failure"]["message"]
    assert shown["failure"]["phase"] == phase
    assert shown["phases"][-1]["name"] == phase
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert list(manifest["artifacts"]) == kept
    assert all((tmp_path / "run" / name).stat().st_size == each["size_bytes"] for name, each in manifest["artifacts"].items())
    assert not (tmp_path / "run" / ".reserve").exists()
    assert bool(shown["classes"]) == ("rank0/trace.json.gz" in kept)


def test_a_killed_group_leaves_a_run_that_reads_as_interrupted(tmp_path: Path):
    with held(tmp_path, "4") as (parent, child):
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait(60)
        wait_for_end(child)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "running"
    shown = show(tmp_path / "run")
    assert (shown["status"], shown["failure"]["phase"]) == ("interrupted", "untraced")
    assert "the recording process is gone" in shown["failure"]["message"]
    assert shown["timed"]["repeats"] == 1


def test_a_run_that_still_runs_reads_as_running(tmp_path: Path):
    with held(tmp_path, "0"):
        assert show(tmp_path / "run")["status"] == "running"
        again = diffuscope("record", "flux-tiny", *QUICK, "-o", tmp_path / "run")
        assert (again.returncode, again.stdout) == (2, "")
        assert "exists already" in again.stderr
        assert show(tmp_path / "run")["phases"][-1]["name"] == "warmup"


@pytest.mark.parametrize(
    ("how", "moment", "phase"),
    [("Ctrl-C", "0", "warmup"), ("TERM to the child", "9", "places"), ("TERM to the command", "1", "timed")],
)
def test_an_interruption_is_sealed(tmp_path: Path, how: str, moment: str, phase: str):
    with held(tmp_path, moment) as (parent, child):
        if how == "Ctrl-C":
            os.killpg(parent.pid, signal.SIGINT)
        else:
            os.kill(child if how == "TERM to the child" else parent.pid, signal.SIGTERM)
        shown = ending(parent, tmp_path / "run")
    assert (shown["status"], shown["failure"]["phase"], shown["failure"]["type"]) == ("interrupted", phase, "KeyboardInterrupt")
    assert not (tmp_path / "run" / ".reserve").exists()


def failed(pipeline: str, *options: str, **more: str) -> tuple[dict[str, Any], Path]:
    """What `show` says of a run whose pipeline failed by itself, and where it lies."""
    made = recorded(f"pipelines:{pipeline}", *QUICK, *options, **more)
    assert made.done.returncode == 3, made.done.stderr
    assert "Traceback" not in made.done.stderr
    shown = show(made.path)
    assert json.loads(made.done.stdout) == {"run": str(made.path), "status": shown["status"]}
    return shown, made.path


def test_an_exception_of_the_pipeline():
    shown, run = failed("raising")
    failure = shown["failure"]
    assert (shown["status"], failure["type"], failure["message"]) == ("failed", "ArithmeticError", "the second step went wrong")
    assert failure["phase"] == "timed"
    assert 'raise ArithmeticError("the second step went wrong")' in failure["traceback"]
    assert "pipelines.py" in failure["traceback"]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = diffuscope("record", "flux-tiny", *QUICK, "-o", run)
    assert (again.returncode, again.stdout) == (2, "")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_out_of_memory():
    shown, run = failed("greedy")
    assert (shown["status"], shown["failure"]["phase"]) == ("oom", "timed")
    assert "allocate" in shown["failure"]["message"]
    assert (run / "output.npz").exists()


def test_a_failed_compilation_keeps_its_log():
    shown, run = failed("uncompilable", "--compile", "default")
    assert (shown["status"], shown["failure"]["phase"]) == ("failed", "warmup")
    assert "this backend compiles nothing" in shown["failure"]["message"]
    assert shown["applied"]["compiled"] == ["transformer"]
    (log,) = (run / "rank0" / "compile_log").iterdir()
    assert f"rank0/compile_log/{log.name}" in json.loads((run / "run.json").read_text())["artifacts"]
    import gzip

    text = gzip.decompress(log.read_bytes()).decode()
    assert '"dynamo_output_graph"' in text
    assert "this backend compiles nothing" in text


def test_an_interruption_before_there_is_a_run(tmp_path: Path):
    """The libraries take seconds to import: Ctrl-C then leaves neither a directory nor a traceback."""
    (tmp_path / "torch.py").write_text("import pathlib, time\npathlib.Path('here').write_text('x')\ntime.sleep(300)\n")
    parent = start("record", "flux-tiny", "-o", "run", cwd=tmp_path, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    while not (tmp_path / "here").exists():
        assert parent.poll() is None
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=60)
    assert (parent.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()

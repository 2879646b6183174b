"""Importing through the dashboard: whole under its name, or nothing at all; what is hostile harms a child process only."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_pickles import CANARY, RUNS_CODE
from processes import environment
from test_uploads import Sent

from dashboards import filing as filing_module
from dashboards import filing_child
from dashboards.filing import filing
from profiler.core.errors import UnreadableInput, UsageError
from profiler.tables.run import Run


def run_import(
    folder: Path, trace: Any = None, memory: Any = None, logs: tuple[Any, ...] = (), name: str = ""
) -> tuple[str, list[str]]:
    """The run's name, and the stages that were told."""
    with filing(folder) as found:
        found.save(trace, memory, list(logs), 12.5 if trace else None)
        stages = list(dict.fromkeys(found.stages()))
        return found.keep(name), stages


@pytest.fixture
def trace(make_trace: Callable[..., Path], gpu_events: list[dict[str, Any]]) -> bytes:
    return make_trace(gpu_events).read_bytes()


def test_a_trace_becomes_a_run_of_the_folder(tmp_path: Path, trace: bytes):
    folder = tmp_path / "runs"
    (folder / "import-my-trace").mkdir(parents=True)
    name, stages = run_import(folder, Sent("../../my trace.json", trace))
    assert name == "import-my-trace-2"
    run = Run.open(folder / name)
    assert (run.manifest.kind, run.manifest.status) == ("import", "ok")
    assert run.manifest.untraced["dur_ns"] == 12_500_000
    assert run.manifest.command == "diffuscope import my-trace.json --timed-ms 12.5"
    assert run.trace().frame("gpu").height > 0
    assert stages[0].startswith("Checking")
    assert sorted(each.name for each in folder.iterdir()) == ["import-my-trace", "import-my-trace-2"]
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_dir()) == ["runs"]


def test_a_run_may_be_given_a_name(tmp_path: Path, trace: bytes):
    name, _ = run_import(tmp_path, Sent("t.json", trace), name="../<b>of Monday</b>")
    assert name == "b-" and (tmp_path / name / "run.json").is_file()


def zipped() -> bytes:
    import zipfile

    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.log", "text")
    return made.getvalue()


def leading_out() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo("../../out.log")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"text"))
    return made.getvalue()


WRONG = {
    "a picture as a trace": ("trace", b"\x89PNG\r\n\x1a\n" + bytes(64), "t.json "),
    "an empty trace": ("trace", b"", "t.json is empty"),
    "a cut gzip file": ("trace", gzip.compress(b'{"traceEvents": [{"ph": "X"}]}' * 99, mtime=0)[:30], "t.json "),
    "JSON of something else": ("trace", b'{"a": 1}', "t.json "),
    "code in a snapshot": ("memory", RUNS_CODE["global reduce"], "t.json "),
    "a cut snapshot": ("memory", b"\x80\x04}q\x00", "t.json is truncated"),
    "a zip archive of something else": ("log", zipped(), "t.json is no structured compile log"),
    "an archive that leads out": ("log", leading_out(), "would be written outside the folder"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_and_leaves_nothing(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    # As `diffuscope dashboard` without a folder gives it.
    folder = Path("runs")
    folder.mkdir()
    kind, content, message = WRONG[what]
    sent = Sent("/x/t.json", content)
    with pytest.raises(UnreadableInput) as error:
        run_import(
            folder, sent if kind == "trace" else None, sent if kind == "memory" else None, (sent,) if kind == "log" else ()
        )
    assert message in error.value.message and error.value.hint
    assert str(tmp_path) not in str(error.value)
    assert list(folder.iterdir()) == []
    assert not (tmp_path / CANARY).exists() and not (tmp_path / "out.log").exists()


def test_nothing_and_nowhere_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="nothing to import yet"):
        run_import(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match=r"cannot write to .*nothing"):
        run_import(tmp_path / "nothing", Sent("t.json"))
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="is one run"):
        run_import(tmp_path, Sent("t.json"))


def test_a_trace_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(filing_child, "_MOST_UNPACKED", 1 << 20)
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(bytes(3 << 20), mtime=0))
    assert bomb.stat().st_size < 1 << 13
    with pytest.raises(UnreadableInput, match="unpacks to more than"):
        filing_child._refuse_bomb(bomb)


@pytest.mark.parametrize(
    ("dies", "message"),
    [
        ("import os; os.abort()", "was killed by SIGABRT"),
        ("import sys; sys.exit('no room')", "failed \\('no room'\\)"),
        ("import resource as r, os; os.kill(os.getpid(), 24)", "takes longer than it may"),
    ],
)
def test_a_reader_that_dies_takes_nobody_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: str, message: str):
    monkeypatch.setattr(filing_module, "_BOOT", dies)
    with pytest.raises(UnreadableInput, match=message):
        run_import(tmp_path, Sent("t.json"))
    assert list(tmp_path.iterdir()) == []


def test_leaving_the_page_ends_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remember(*arguments: Any, **more: Any) -> Any:
        started.append(popen(*arguments, **more))
        return started[0]

    monkeypatch.setattr(filing_module.subprocess, "Popen", remember)
    monkeypatch.setattr(filing_module, "_BOOT", "import time; time.sleep(60)")
    with filing(tmp_path) as found:
        found.save(Sent("t.json"), None, [], None)
        stages = found.stages()
        assert next(stages).startswith("Checking")
        stages.close()
    assert started[0].returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_the_reader_is_limited(tmp_path: Path):
    """In a process of its own: limits stay."""
    code = "import resource as r; from dashboards import filing_child as c; c._limit(); print(r.getrlimit(r.RLIMIT_DATA)[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert 0 < int(done.stdout) <= 8 << 30


def test_the_answer_is_json_of_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    request = {"trace": str(tmp_path / "none"), "memory": None, "compile_log": None, "timed_ms": None, "out": "", "command": ""}
    (tmp_path / "request").write_text(json.dumps(request))
    monkeypatch.setattr(filing_child, "_limit", lambda: None)
    filing_child.main(tmp_path / "request", tmp_path / "answer")
    assert set(json.loads((tmp_path / "answer").read_text())) == {"message", "hint"}

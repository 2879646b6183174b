"""Cells that a starter forks: as if started by themselves, gone with their sweep, and started by themselves where it fails."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drive import Notes, Warm, drive, rows, specs

from profiler.sweep import preload as preloading
from profiler.sweep.cells import make_cells
from profiler.sweep.preload import _threads, _try_fork, modules_for, preload, visible_capabilities
from profiler.sweep.processes import MARK, end, kill, wait_for
from profiler.sweep.warm import StarterLost, WarmStarter
from profiler.sweep.work import cell_environment


def never() -> bool:
    return False


@contextlib.contextmanager
def starter(folder: Path, *modules: str) -> Iterator[WarmStarter]:
    with (folder / "starter.log").open("wb") as log:
        made = WarmStarter(environment(folder), modules, log)
    try:
        yield made
    finally:
        made.close()


def environment(folder: Path, mark: str = "sweep/1", **more: str) -> dict[str, str]:
    return cell_environment(mark, [], folder / "cache") | {"LOOK": "as asked"} | more


def look(folder: Path, made: WarmStarter, code: int = 0, **more: str) -> dict[str, Any]:
    """What a forked cell saw, once it ended with a code."""
    text = json.dumps({"out": str(folder / "seen.json"), "code": code})
    with (folder / "cell.log").open("wb") as log:
        cell = made.start("looking_cell", ["gpu"], text, environment(folder, **more), log, never)
    assert cell is not None, made.why
    assert wait_for(cell, 60.0, never) is None
    assert (cell.returncode, cell.poll()) == (code, code), (folder / "cell.log").read_text()
    found: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return found


def test_a_forked_cell_is_as_if_started_by_itself(tmp_path: Path):
    with starter(tmp_path, "torch") as made:
        seen = look(tmp_path, made, mark="sweep/a")
        again = look(tmp_path, made, 7, mark="sweep/b", CUDA_VISIBLE_DEVICES="1")
    assert seen.pop("torch") == {
        "begun": False,
        "bad_fork": False,
        "told": [True, 2, [9, 0], 9, 0],
        "told_none": [False, 0],
        "as_before": True,
    }
    assert seen["parent"] == again["parent"] != os.getpid()
    assert (seen["imported"], seen["session"], seen["group"], seen["threads"]) == (True, True, True, 1)
    assert (seen["arguments"], seen["stderr"], seen["sockets"]) == (["gpu"], str(tmp_path / "cell.log"), [])
    assert seen["marks"] == [f"{MARK}=sweep/a"], "others find it by this"
    assert again["marks"] == [f"{MARK}=sweep/b"]
    assert seen["variables"] == {"LOOK": "as asked", MARK: "sweep/a", "DIFFUSCOPE_WARM": "1"}


def test_what_was_read_while_importing_must_be_the_same(tmp_path: Path):
    """Torch's logs are set up then, and its folder of caches is looked at."""
    with starter(tmp_path) as made, (tmp_path / "log").open("wb") as log:
        for other in ({"TORCH_LOGS": "dynamo"}, {"TORCHINDUCTOR_CACHE_DIR": "/elsewhere"}):
            assert made.start("looking_cell", [], "{}", environment(tmp_path, **other), log, never) is None
        assert made.why is None, "other cells may be forked"
        assert look(tmp_path, made)["imported"] is False


def test_a_cell_dies_with_its_starter_and_is_ended_like_any_other(tmp_path: Path, notes: Notes):
    notes.behave(cell="hang", other="hang")
    text = json.dumps({"spec": specs(notes.folder, "bf16")[0].to_dict(), "out": str(tmp_path / "cell"), "command": ""})
    with starter(tmp_path) as made, (tmp_path / "log").open("wb") as log:
        cell = made.start("fake_cell", [], text, environment(tmp_path), log, never)
        assert cell is not None
        assert wait_for(cell, 30.0, (tmp_path / "cell" / "run.json").exists) == "stopped"
        assert cell.poll() is None
        end(cell, "sweep/1")
        assert cell.returncode == 3, "it sealed its run"
        other = made.start("fake_cell", [], text.replace("/cell", "/other"), environment(tmp_path), log, never)
        assert other is not None
        os.kill(made._process.pid, signal.SIGKILL)
        with pytest.raises(StarterLost):
            wait_for(other, 30.0, never)
        kill(other, "sweep/1")
        assert made.start("fake_cell", [], text, environment(tmp_path), log, never) is None
        assert made.why is not None


def test_a_starter_that_dies_costs_no_cell(folder: Path, notes: Notes):
    """Its cell begins again by itself, as the same attempt, and so do the others."""
    notes.behave(int8wo_none="hang")

    def murder() -> None:
        while "int8wo-none" not in notes.starts():
            time.sleep(0.02)
        notes.behave()
        os.kill(int(notes.lines()[-1][2]), signal.SIGKILL)

    killer = threading.Thread(target=murder)
    killer.start()
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo int8dq")), Warm) == "ok"
    killer.join()
    assert notes.starts() == ["bf16-none", "int8wo-none", "int8wo-none", "int8dq-none"]
    parents = [int(each[2]) for each in notes.lines()]
    assert parents[0] == parents[1] != os.getpid()
    assert parents[2:] == [os.getpid()] * 2
    assert [(each["status"], each["attempts"]) for each in rows(folder).values()] == [("ok", 1)] * 3
    log = (folder / "logs" / "int8dq-none.log").read_text()
    assert log.startswith("begins by itself, its libraries not imported before: the process that forks cells died\n")


def test_a_starter_that_cannot_import_leaves_the_cells_to_themselves(folder: Path, notes: Notes):
    Wrong = type("Wrong", (Warm,), {"modules": ["no_such_module"]})
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo")), Wrong) == "ok"
    assert [int(each[2]) for each in notes.lines()] == [os.getpid()] * 2
    assert "ModuleNotFoundError: No module named 'no_such_module'" in (folder / "logs" / "bf16-none.log").read_text()


def test_which_modules_cells_need():
    eager = modules_for(["flux-tiny"], compiled=False)
    assert "diffusers.pipelines.flux.pipeline_flux" in eager
    assert not [each for each in eager if "inductor" in each or "cogvideo" in each]
    assert "torch._inductor.compile_fx" in modules_for(["cogvideox-2b"], compiled=True)
    assert not [each for each in modules_for(["mine:make"], compiled=False) if each.startswith("diffusers")]
    assert preload([]) is None


@pytest.mark.parametrize(
    ("visible", "said", "found"),
    [
        (None, "9.0\n9.0\n", [(9, 0), (9, 0)]),
        ("0", "12.1\n", [(12, 1)]),
        ("", "9.0\n", []),
        ("-1", "9.0\n", []),
    ],
)
def test_the_gpus_that_nvidia_smi_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, said: str, found: list[tuple[int, int]]
):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_capabilities() == found
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert visible_capabilities() == []
    assert subprocess.run(["nvidia-smi"], check=False).returncode == 9


def test_threads_that_do_not_get_over_a_fork_are_named():
    """By the kernel's names: a library's own threads have others than Python's."""

    def run() -> None:
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(names.pop())
        begun.wait()
        ended.wait()

    names, begun, ended = ["jemalloc_bg_thd", "left behind"], threading.Barrier(3), threading.Event()
    before = _threads()
    threads = [threading.Thread(target=run) for _ in range(2)]
    for each in threads:
        each.start()
    begun.wait()
    assert _threads() == sorted([*before, "left behind"])
    ended.set()
    for each in threads:
        each.join()


def test_a_process_whose_imports_left_threads_forks_no_cells(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preloading, "_answer", lambda *_: os._exit(0))
    monkeypatch.setattr(preloading, "_threads", lambda: ["pool", "watch"])
    assert _try_fork([]) == "the imports left threads running: pool, watch"


def test_what_hides_its_mark_ends_with_its_group():
    command = ["sh", "-c", "env -i sleep 300 & echo $!"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout is not None
        hidden = int(child.stdout.readline())
        try:
            kill(child, "a mark that nobody carries")
            # The pipe is closed once the last one that has it is gone.
            assert select.select([child.stdout], [], [], 10.0)[0], "it lives on"
            assert child.stdout.read() == b""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(hidden, signal.SIGKILL)

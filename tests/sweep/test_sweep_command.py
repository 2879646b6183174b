"""`diffuscope sweep` with real cells: interrupted and taken up again; what show and runs make of its folder; wrong usage."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drive import Notes, Unprobed, drive, rows, specs
from processes import diffuscope, start

from profiler.cli.app import run
from profiler.core.errors import MissingExtra
from profiler.core.plan_file import KIND, SCHEMA
from profiler.rundir import layout
from profiler.rundir.reader import read_manifest
from profiler.sweep.cells import make_cells
from profiler.sweep.executors.base import EXECUTORS, Site
from profiler.sweep.folder import look
from profiler.sweep.work import Place, Task, run_task

QUICK = ("sweep", "--preset", "quick", "--device", "cpu", "--repeats", "2", "--phases", "timed", "--json", "-o")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str], dict[str, Any]]:
    """The six real cells of CI: Ctrl-C in the second, then the same command again. (folder, that command, cells before it)."""
    folder = tmp_path_factory.mktemp("sweeps") / "quick"
    first = start(*QUICK, folder, cwd=folder.parent)
    deadline = time.monotonic() + 240
    while not (folder / "sweep.json").exists() or list(rows(folder).values())[1]["status"] != "running":
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGINT)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 3, err
    assert "error: the sweep is not finished: 1 ok, 1 interrupted, 4 queued" in err
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert [each["status"] for each in json.loads(out)["cells"]][:2] == ["ok", "interrupted"]
    before = rows(folder)
    return folder, diffuscope(*QUICK, folder, cwd=folder.parent), before


def test_an_interrupted_sweep_is_finished_by_the_same_command(swept: Any):
    folder, done, before = swept
    assert done.returncode == 0, done.stderr
    found = rows(folder)
    assert list(found) == list(before)
    assert len(found) == 6
    assert {each["status"] for each in found.values()} == {"ok"}
    assert found["bf16-none"] == before["bf16-none"], "what had ended was not touched"
    assert [each["attempts"] for each in found.values()] == [1, 2, 1, 1, 1, 1]
    answer = json.loads(done.stdout)
    assert [each["id"] for each in answer["cells"]] == list(found)
    assert all(each["time_s"] > 0 and each["graph_breaks"] == 0 for each in answer["cells"])
    assert "int8dq-none-qkv: ok" in done.stderr


def test_a_forked_cell_records_what_one_by_itself_does(swept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """To the bit; its manifest says that it imported nothing."""
    folder, _, _ = swept
    row = rows(folder)["int8dq-none"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    task = Task(
        id="itself", spec=row["spec"], command=read_manifest(folder / "int8dq-none").command, limit_s=240.0, mark="itself"
    )
    alone = run_task(task, tmp_path, Place(worker="here", cache=tmp_path / "cache"))
    assert (alone.status, alone.reason, alone.cache) == (row["status"], row["reason"], row["cache"])
    itself, forked = read_manifest(tmp_path / "itself"), read_manifest(folder / "int8dq-none")
    assert (itself.spec, itself.spec_hash, itself.command) == (forked.spec, forked.spec_hash, forked.command)
    assert (itself.applied, itself.lost, itself.failure) == (forked.applied, forked.lost, forked.failure)
    assert [each.name for each in itself.phases] == [each.name for each in forked.phases]
    assert itself.artifacts.keys() == forked.artifacts.keys()
    for name in (layout.OUTPUT_TENSORS, layout.OUTPUT_IMAGE):
        assert itself.artifacts[name] == forked.artifacts[name], f"{name} differs"
    assert forked.environment.pop("imports") == "before this process"
    for each in (itself, forked):
        assert each.environment["variables"].pop("TORCHINDUCTOR_CACHE_DIR").endswith("/cache/inductor")
        assert each.environment["variables"].pop("TRITON_CACHE_DIR").endswith("/cache/triton")
    assert itself.environment == forked.environment
    assert min(each.start_ns for each in forked.phases) >= forked.created_ns >= row["began_ns"]


def test_show_and_runs_of_its_folder(swept: Any):
    folder, done, _ = swept
    shown = diffuscope("show", folder, "--json")
    assert json.loads(shown.stdout) == json.loads(done.stdout) | {"run": str(folder)}
    listed = json.loads(diffuscope("runs", folder, "--json").stdout)["runs"]
    assert [(each["name"], each["kind"], each["status"]) for each in listed[:2]] == [
        ("quick", "sweep", "ok"),
        ("bf16-none", "record", "ok"),
    ]
    assert len(listed) == 7
    (whole,) = json.loads(diffuscope("runs", folder.parent, "--json").stdout)["runs"]
    assert (whole["name"], whole["kind"], whole["model"], whole["error"]) == ("quick", "sweep", "flux-tiny", None)
    cell = json.loads((folder / "bf16-none" / "run.json").read_text())
    assert cell["command"].startswith("diffuscope record flux-tiny --steps 2")


WRONG = {
    "nothing": ((), "nothing to sweep was named"),
    "no preset": (("--preset", "seed"), "no preset is called 'seed'"),
    "no scheme": (("flux-tiny", "--schemes", "bf16,int3"), "no scheme is called 'int3'"),
    "no plan": (("flux-tiny", "--schemes", "nothing.json"), "nothing.json"),
    "no mode": (("flux-tiny", "--compile", "fast"), "no compile mode is called 'fast'"),
    "no batch": (("flux-tiny", "--batch", "1,x"), "x is no number from 1"),
    "no model": (("flux-huge",), "no model is called 'flux-huge'"),
    "no size": (("flux-tiny", "--size", "100"), "multiples of 16 pixels, and height is 100"),
    "no guidance": (("flux-tiny", "--guidance", "nan"), "--guidance nan is no number"),
    "no phase": (("flux-tiny", "--phases", "timed,flight"), "names no phase 'flight'"),
    "no time": (("flux-tiny", "--limit-s", "nan"), "Invalid value for '--limit-s'"),
    "no executor": (("flux-tiny", "--executor", "slurm"), "no executor is called 'slurm'"),
    "no cache": (("flux-tiny", "--cache", "warm"), "--cache warm is not known"),
    "one step count": (("flux-tiny", "--extrapolate-from", "4"), "takes two step counts"),
    "other steps": (
        ("flux-tiny", "--extrapolate-from", "2,4", "--trace-steps", "3"),
        "--trace-steps 3 beside --extrapolate-from 2,4, whose traced call has 2 steps",
    ),
    "no table": (("flux-tiny", "--against", "torch"), "--against torch is not known"),
    "no row's": (
        ("--preset", "seed-flux", "--quantize-vae", "--dry-run"),
        "--quantize-vae tries each cell without it and with it",
    ),
    "no such row": (("--preset", "seed-flux", "--batch", "1,3", "--dry-run"), "no row of --preset seed-flux has --batch 3"),
    "another's folder": (("flux-tiny", "-o", "."), "holds something that is no sweep"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_error_and_leaves_nothing(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments, message = WRONG[case]
    (tmp_path / "mine.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert run(["sweep", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]


def test_a_dry_run_lists_the_cells_and_makes_nothing(tmp_path: Path):
    done = diffuscope("sweep", "--preset", "seed-flux", "--batch", "1", "--schemes", "bf16,int8dq", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    names = [each.split()[0] for each in done.stdout.splitlines()]
    assert names == [
        "bf16-regional",
        "bf16-none",
        "int8dq-regional",
        "int8dq-regional-qkv",
        "int8dq-none",
        "int8dq-none-qkv",
    ]
    assert "diffuscope record flux-dev --scheme int8dq --compile regional" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_of_the_calls_is_said_of_a_presets_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    asked = ["sweep", "--preset", "quick", "--schemes", "bf16", "--dry-run", "-o", str(tmp_path / "sweep")]
    for more, said in (
        ([], "--trace-steps 1 --guidance 3.5 --warmup 0"),
        (["--trace-steps", "4", "--warmup", "1"], "--guidance 3.5"),
    ):
        assert run([*asked, *more]) == 0
        line = capsys.readouterr().out.splitlines()[0]
        assert line.split(None, 2)[2] == f"diffuscope record flux-tiny --steps 2 {said} --phases timed,traced --size 64x64"


def _swept_already(folder: Path, notes: Notes, schemes: str) -> list[str]:
    """A folder whose cells have ended, and the command line that asks for the same cells: it runs nothing."""
    drive(folder, make_cells(specs(notes.folder, schemes, phases="timed,traced")), steps=8)
    asked = ["sweep", "flux-tiny", "--schemes", schemes.replace(" ", ","), "--steps", "8", "--size", "64"]
    return [*asked, "--prompt", str(notes.folder), "-o", str(folder)]


def test_a_dry_run_in_a_folder_says_what_has_ended(folder: Path, notes: Notes, capsys: pytest.CaptureFixture[str]):
    notes.behave(int8wo_none="oom")
    arguments = [*_swept_already(folder, notes, "bf16 int8wo"), "--dry-run"]
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}

    def listed(*more: str) -> list[list[str]]:
        assert run([*arguments, *more]) == 0
        return [each.split()[:2] for each in capsys.readouterr().out.splitlines()]

    assert listed() == [["bf16-none", "ok"], ["int8wo-none", "oom"]]
    assert listed("--retry") == [["bf16-none", "ok"], ["int8wo-none", "queued"]]
    assert listed("--seed", "3") == [["bf16-none", "queued"], ["int8wo-none", "queued"]]
    assert run(["sweep", "cogvideox-tiny", "--dry-run", "-o", str(folder)]) == 2
    assert "is a sweep of flux-tiny, this is of cogvideox-tiny" in capsys.readouterr().err
    assert {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()} == before


def test_without_what_reads_runs_a_sweep_ends_as_it_went(
    folder: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Where recordings are made there may be no polars: the cells went well, and that is the last word."""
    notes.behave(int8wo_none="oom")
    arguments = _swept_already(folder, notes, "bf16 int8wo")
    monkeypatch.setitem(sys.modules, "polars", None)
    assert run([*arguments, "--against", "seed"]) == 0
    out, err = capsys.readouterr()
    assert notes.starts() == ["bf16-none", "int8wo-none"]
    assert err == "2 of 2 cells have a result already; --retry runs the 1 again that did not go well\n"
    head, bf16, int8wo, _, note, *_ = out.splitlines()
    assert head.split() == ["cell", "status", "seconds", "a", "call"]
    assert (bf16.split()[0], bf16.split()[1], bf16.split()[3:]) == ("bf16-none", "ok", ["81.0", "ms"])
    assert (int8wo.split()[:2], int8wo.split()[3:]) == (["int8wo-none", "oom"], ["-", "oom", "as", "it", "should", "be"])
    assert "polars" in note
    assert "pip install diffuscope" in note
    assert note.endswith(f": diffuscope show {folder} --against seed")
    assert run([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["run"], answer["status"], answer["steps"]) == (str(folder), "ok", 8)
    assert [(each["id"], each["status"], each["time_s"]) for each in answer["cells"]] == [
        ("bf16-none", "ok", 0.081),
        ("int8wo-none", "oom", None),
    ]
    assert answer["cells"][0]["hash"] == rows(folder)["bf16-none"]["hash"]
    assert f"diffuscope show {folder}" in answer["not_known"][0]


def test_without_what_reads_runs_a_failed_sweep_is_a_failed_sweep(
    folder: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    notes.behave(bf16_none="failed")
    arguments = _swept_already(folder, notes, "bf16")
    monkeypatch.setitem(sys.modules, "polars", None)
    assert run(arguments) == 3
    assert "error: no cell of the sweep went well" in capsys.readouterr().err


def test_a_sweep_says_which_cell_did_not_fit_its_time(
    folder: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments = _swept_already(folder, notes, "bf16")
    monkeypatch.setattr("profiler.sweep.session.EXECUTORS", {"local": Unprobed})
    assert run([*arguments, "--compile", "none,regional", "--limit-s", "30"]) == 3
    out, err = capsys.readouterr()
    assert "bf16-regional" in out
    error, hint = err.splitlines()[-2:]
    why = r"bf16-regional: not begun: [12]\d s were left, and it may take 60 s"
    assert re.fullmatch(rf"error: the sweep is not finished: 1 queued, 1 ok; {why}", error)
    assert hint.strip() == f"raise --limit-s; {folder} holds what was recorded; the same command goes on"
    assert notes.starts() == ["bf16-none"]


def test_without_ray_the_executor_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"diffuscope\[cluster\]"):
        EXECUTORS.get("ray")(Site(work=tmp_path, cache=tmp_path, device="cpu"))


def test_a_plan_that_changed_is_another_scheme(folder: Path, notes: Notes, tmp_path: Path):
    plan = tmp_path / "mine.json"
    plan.write_text(PLAN)
    asked = specs(notes.folder, str(plan))
    assert drive(folder, make_cells(asked)) == "ok"
    assert drive(folder, make_cells(asked)) == "ok"
    assert notes.starts() == ["mine-none"]
    os.utime(plan, ns=(time.time_ns(), time.time_ns()))
    assert drive(folder, make_cells(asked)) == "ok"
    assert notes.starts() == ["mine-none", "mine-none"]
    plan.write_text("{")
    drive(folder, make_cells(asked))
    assert rows(folder)["mine-none"]["status"] == "refused"


def test_plans_of_one_file_name_are_cells_of_their_own(folder: Path, notes: Notes, tmp_path: Path):
    """Whichever of them is asked for: no result takes another's place, and none is made twice."""
    plans = [str(tmp_path / name / "plan.json") for name in "abc"]
    for each in plans:
        Path(each).parent.mkdir()
        Path(each).write_text(PLAN)
    a, b, c = (specs(notes.folder, each)[0] for each in plans)
    notes.behave(plan_none_2="oom")
    assert drive(folder, make_cells([a, b])) == "ok"
    for asked in ([b], [b, a], [a]):
        assert drive(folder, make_cells(asked)) == "ok"
        found = {name: (row["spec"]["scheme"], row["status"]) for name, row in rows(folder).items()}
        assert found == {"plan-none": (plans[0], "ok"), "plan-none-2": (plans[1], "oom")}
    assert notes.starts() == ["plan-none", "plan-none-2"]
    assert [each.id for each in look(folder, "flux-tiny", make_cells([b, c, a]))] == ["plan-none-2", "plan-none-3", "plan-none"]
    # A changed spec still takes the place of what it changed.
    assert drive(folder, make_cells([replace(b, seed=3), c])) == "ok"
    found = {name: (row["spec"]["scheme"], row["spec"]["seed"]) for name, row in rows(folder).items()}
    assert found == {"plan-none-2": (plans[1], 3), "plan-none-3": (plans[2], 0), "plan-none": (plans[0], 0)}
    assert notes.starts()[2:] == ["plan-none-2", "plan-none-3"]


PLAN = json.dumps({"kind": KIND, "schema": SCHEMA, "layers": {"transformer.proj_out": "int8wo"}})

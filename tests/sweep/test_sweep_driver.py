"""The driver with fake cells: every way to end is a result, what is done is done once, what is killed goes on."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import signal
from pathlib import Path

import pytest
from drive import Notes, Silent, Unprobed, Warm, drive, rows, specs, start, wait_until

from profiler.rundir.reader import read_manifest
from profiler.sweep.cells import make_cells
from profiler.sweep.driver import Limits
from profiler.sweep.executors.base import Ended
from profiler.sweep.folder import look
from profiler.sweep.work import Task

BOTH = pytest.mark.parametrize("how", [Unprobed, Warm])


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


@BOTH
def test_every_ending_is_a_result_and_nothing_is_run_again(folder: Path, notes: Notes, how: type[Unprobed]):
    notes.behave(int8wo_none="oom", int8dq_none="failed", fp8wo_none="die", fp16_none="crash", fp8dq_none="refuse")
    names = "bf16 int8wo int8dq fp8wo fp16 fp8dq fp8dqrow"
    Refusing = type("Refusing", (how,), {"refuses": {"fp8dqrow": "no such GPU"}})
    view = Silent()
    assert drive(folder, make_cells(specs(notes.folder, names)), Refusing, view=view) == "ok"
    found = rows(folder)
    assert {name: (each["status"], each["reason"]) for name, each in found.items()} == {
        "bf16-none": ("ok", None),
        "int8wo-none": ("oom", "oom as it should be"),
        "int8dq-none": ("failed", "failed as it should be"),
        "fp8wo-none": ("failed", "the recording process died (exit code -9)"),
        "fp16-none": ("failed", "Segmentation fault"),
        "fp8dq-none": ("refused", "this cell cannot be"),
        "fp8dqrow-none": ("refused", "no such GPU"),
    }
    ok = found["bf16-none"]
    assert (ok["run"], ok["attempts"], ok["cache"]) == ("bf16-none", 1, {"fx_hits": 2, "fx_misses": 1, "triton_added": 0})
    assert ok["worker"].endswith("/cpu")
    assert ok["seconds"] > 0
    manifest = read_manifest(folder / "bf16-none")
    assert ok["hash"] == manifest.spec_hash
    # Until its process was there, to the millisecond: what a forked first cell waits for the imports.
    assert 0 <= ok["waited_s"] <= (manifest.created_ns - ok["began_ns"]) / 1e9 + 0.001
    assert found["fp16-none"]["run"] is None
    assert "Segmentation fault" in (folder / "logs" / "fp16-none.log").read_text()
    assert ("bf16-none", "running") in view.told
    assert ("fp8wo-none", "failed") in view.told
    assert read_manifest(folder).status == "ok"
    assert sorted(each.name for each in folder.iterdir() if each.name.startswith(".")) == [".lock"]
    before = notes.starts()
    assert len(before) == 6
    notes.behave()
    assert drive(folder, make_cells(specs(notes.folder, names)), Refusing) == "ok"
    # What was refused by a machine is asked again: another machine, another answer.
    assert notes.starts()[len(before) :] == ["fp8dq-none"]
    assert drive(folder, make_cells(specs(notes.folder, names)), how, retry=True) == "ok"
    assert sorted(notes.starts()[len(before) + 1 :]) == ["fp16-none", "fp8dqrow-none", "fp8wo-none", "int8dq-none", "int8wo-none"]
    assert {each["status"] for each in rows(folder).values()} == {"ok"}
    assert rows(folder)["int8wo-none"]["attempts"] == 2


def test_a_changed_spec_is_run_again_and_what_is_no_longer_asked_for_stays(folder: Path, notes: Notes):
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo"))) == "ok"
    first = read_manifest(folder / "int8wo-none").created_ns
    changed = [*specs(notes.folder, "bf16"), *specs(notes.folder, "int8dq", seed=3)]
    assert drive(folder, make_cells(changed)) == "ok"
    assert list(rows(folder)) == ["bf16-none", "int8dq-none", "int8wo-none"]
    assert read_manifest(folder / "int8wo-none").created_ns == first
    assert drive(folder, make_cells(specs(notes.folder, "bf16", seed=5))) == "ok"
    assert notes.starts() == ["bf16-none", "int8wo-none", "int8dq-none", "bf16-none"]
    assert read_manifest(folder / "bf16-none").spec["seed"] == 5


@BOTH
def test_a_cell_that_takes_too_long_is_ended_with_all_that_it_started(folder: Path, notes: Notes, how: type[Unprobed]):
    notes.behave(bf16_none="hang", int8wo_none="helper")
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo")), how, Limits(cell_s=2.0)) == "ok"
    found = rows(folder)["bf16-none"]
    assert (found["status"], found["reason"]) == ("timeout", "took longer than 2 s")
    manifest = read_manifest(folder / "bf16-none")
    assert (manifest.status, manifest.failure and manifest.failure.message) == ("timeout", "took longer than 2 s")
    assert rows(folder)["int8wo-none"]["status"] == "ok"
    pids = [int(each[1]) for each in notes.lines()]
    assert [alive(pid) for pid in pids] == [False, False]
    ours = f"DIFFUSCOPE_CELL={hashlib.sha256(str(folder).encode()).hexdigest()[:12]}/".encode()
    assert [each for each in Path("/proc").glob("[0-9]*/environ") if ours in _bytes(each)] == []


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("how", ["fresh", "warm"])
def test_a_sweep_killed_midway_goes_on_and_starts_nothing_twice(folder: Path, notes: Notes, how: str):
    notes.behave(int8dq_none="wait")
    driver = start(folder, notes, "bf16 int8wo int8dq fp16", how)
    wait_until(lambda: "int8dq-none" in notes.starts())
    cell, starter = int(notes.lines()[-1][1]), int(notes.lines()[-1][2])
    assert (starter == driver.pid) == (how == "fresh")
    driver.kill()
    driver.wait()
    wait_until(lambda: not alive(cell) and not alive(starter))
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    assert read_manifest(folder).status == "interrupted"
    assert [each["status"] for each in rows(folder).values()] == ["ok", "ok", "running", "queued"]
    notes.behave()
    again = start(folder, notes, "bf16 int8wo int8dq fp16", how)
    assert again.wait(60) == 0
    assert notes.starts() == ["bf16-none", "int8wo-none", "int8dq-none", "int8dq-none", "fp16-none"]
    assert [(each["status"], each["attempts"]) for each in rows(folder).values()] == [("ok", 1), ("ok", 1), ("ok", 2), ("ok", 1)]
    assert read_manifest(folder).status == "ok"


@pytest.mark.parametrize("place", ["bf16-none", ".work/bf16-none"])
def test_a_run_that_ended_before_its_sweep_could_say_so_is_not_run_again(folder: Path, notes: Notes, place: str):
    assert drive(folder, make_cells(specs(notes.folder, "bf16"))) == "ok"
    content = json.loads((folder / "sweep.json").read_text())
    content["cells"][0] |= {"status": "running", "run": None, "seconds": None}
    (folder / "sweep.json").write_text(json.dumps(content))
    (folder / ".work").mkdir()
    (folder / "bf16-none").rename(folder / place)
    assert drive(folder, make_cells(specs(notes.folder, "bf16"))) == "ok"
    assert notes.starts() == ["bf16-none"]
    found = rows(folder)["bf16-none"]
    assert (found["status"], found["run"], round(found["seconds"])) == ("ok", "bf16-none", 2)


@pytest.mark.parametrize("steps", [8, 28], ids=["plain", "extrapolated"])
def test_a_good_cell_whose_run_is_damaged_is_run_again_and_the_damaged_run_stays(folder: Path, notes: Notes, steps: int):
    def again(schemes: str = "bf16 int8wo") -> list[str]:
        assert drive(folder, make_cells(specs(notes.folder, schemes)), steps=steps) == "ok"
        return notes.starts()

    first = again()
    for number, name in ((3, "bf16-none.damaged"), (4, "bf16-none.damaged-2")):
        (folder / "bf16-none" / "run.json").write_text("{")
        (queued, kept) = look(folder, "flux-tiny", make_cells(specs(notes.folder, "bf16 int8wo")))
        assert (queued.status, kept.status) == ("queued", "ok")
        assert (queued.reason or "").startswith(f"to be run again: {folder}/bf16-none/run.json is not JSON")
        assert again() == [*first, *["bf16-none"] * (number - 2)]
        assert (folder / name / "run.json").read_text() == "{"
        row = rows(folder)["bf16-none"]
        assert (row["status"], row["attempts"], row["reason"]) == ("ok", number - 1, None)
        assert read_manifest(folder / "bf16-none").status == "ok"
    # One that is no longer asked for stays as it is, and takes no sweep along.
    (folder / "int8wo-none" / "run.json").write_text("{")
    assert again("bf16") == [*first, "bf16-none", "bf16-none"]
    assert rows(folder)["int8wo-none"]["status"] == "ok"
    said = rows(folder)["int8wo-none"]["reason"]
    assert said is None if steps == 8 else said.startswith("not extrapolated to 28 steps: ")


def test_what_a_cell_ended_with_may_be_a_run_that_says_nothing(folder: Path, notes: Notes):
    notes.behave(bf16_none="failed")
    cells = specs(notes.folder, "bf16")
    assert drive(folder, make_cells(cells)) == "ok"
    (folder / "bf16-none" / "run.json").write_text("{")
    assert drive(folder, make_cells(cells)) == "ok"
    assert notes.starts() == ["bf16-none"]


@pytest.mark.parametrize(("asked", "how"), [(signal.SIGINT, "warm"), (signal.SIGTERM, "warm"), (signal.SIGHUP, "fresh")])
def test_an_interrupted_sweep_keeps_everything(folder: Path, notes: Notes, asked: signal.Signals, how: str):
    notes.behave(int8wo_none="hang")
    driver = start(folder, notes, "bf16 int8wo int8dq", how)
    wait_until((folder / ".work" / "int8wo-none" / "run.json").exists)
    os.kill(driver.pid, asked)
    assert driver.wait(60) == 3
    found = rows(folder)
    assert [each["status"] for each in found.values()] == ["ok", "interrupted", "queued"]
    assert read_manifest(folder / "int8wo-none").status == "interrupted"
    manifest = read_manifest(folder)
    assert (manifest.status, manifest.process) == ("interrupted", {})
    assert manifest.failure is not None
    assert manifest.failure.message == "stopped, and 2 of 3 cells have no result"
    notes.behave()
    assert start(folder, notes, "bf16 int8wo int8dq", how).wait(60) == 0
    assert notes.starts() == ["bf16-none", "int8wo-none", "int8wo-none", "int8dq-none"]


def test_a_sweep_goes_on_with_nobody_to_watch_it(folder: Path, notes: Notes):
    class Gone(Silent):
        def show(self, cells: object, slots: int) -> None:
            raise OSError(errno.EIO, "no terminal")

        def tell(self, cell: object) -> None:
            raise BrokenPipeError

    assert drive(folder, make_cells(specs(notes.folder, "bf16")), view=Gone()) == "ok"
    assert rows(folder)["bf16-none"]["status"] == "ok"


def test_one_cell_a_gpu(folder: Path, notes: Notes):
    TwoGpus = type("TwoGpus", (Unprobed,), {"gpus": 2})
    notes.behave(bf16_none="hang", int8wo_none="ok", fp16_none="ok")
    # bf16 keeps the first GPU until its time is over; the others share the second.
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo fp16")), TwoGpus, Limits(cell_s=4.0)) == "ok"
    gpus = {each[0]: each[3] for each in notes.lines()}
    assert gpus == {"bf16-none": "0", "int8wo-none": "1", "fp16-none": "1"}
    assert [each["worker"].rpartition("/")[2] for each in rows(folder).values()] == ["gpu0", "gpu1", "gpu1"]


def test_no_cell_starts_that_cannot_end(folder: Path, notes: Notes):
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo")), limits=Limits(cell_s=30.0, all_s=20.0)) == "interrupted"
    assert notes.starts() == [], "a minute is expected of a cell of which nothing is known"
    manifest = read_manifest(folder)
    assert manifest.failure is not None
    assert manifest.failure.message == "no cell fits the time left, and 2 of 2 cells have no result"
    why = re.compile(r"not begun: 1\d s were left, and it may take 30 s")
    assert all(why.fullmatch(each["reason"]) for each in rows(folder).values())
    notes.behave(int8wo_none="hang")
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), limits=Limits(cell_s=5.0, all_s=20.0)) == "ok"
    # Now the cells are known to be short: one that is not is ended with the sweep's time, and has no result.
    limits = Limits(cell_s=30.0, all_s=4.0)
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo")), limits=limits) == "interrupted"
    found = rows(folder)["int8wo-none"]
    assert found["status"] == "interrupted"
    assert "the sweep's time was over" in found["reason"]


class Nobody(Unprobed):
    """No worker is there, as in a cluster whose last node was lost; `joins` is after how many questions one joins."""

    asked, joins = 0, 1000

    def slots(self) -> int:
        self.asked += 1
        assert self.asked < 100, "it waits for ever"
        return int(self.asked > self.joins)


def test_without_a_worker_a_cell_waits_while_it_could_end(folder: Path, notes: Notes):
    cells = make_cells(specs(notes.folder, "bf16"))
    assert drive(folder, cells, Nobody, Limits(cell_s=30.0, all_s=20.0)) == "interrupted"
    row = rows(folder)["bf16-none"]
    assert (row["status"], row["attempts"], notes.starts()) == ("queued", 0, [])
    why = r"not begun: no worker was there, 1\d s were left, and it may take 30 s"
    assert re.fullmatch(why, row["reason"])
    Later = type("Later", (Nobody,), {"joins": 3})
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), Later, Limits(cell_s=30.0, all_s=300.0)) == "ok"
    assert notes.starts() == ["bf16-none"]


def test_a_cell_that_a_busy_cluster_does_not_begin_ends_with_the_sweeps_time(
    folder: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
):
    class Busy(Unprobed):
        """Takes a cell and does not begin it, while the time of the sweep goes by."""

        waited = 0

        def start(self, task: Task) -> str:
            self.given = task.id
            monkeypatch.setattr("profiler.sweep.driver._STOP_S", -100.0)
            return "busy"

        def wait(self, timeout_s: float) -> list[Ended]:
            self.waited += 1
            assert self.waited < 100, "it waits for ever"
            return [Ended(id=self.given, lost="cancelled")] if self._stop.is_set() else []

        def stop(self) -> None:
            super().stop()
            monkeypatch.setattr("profiler.sweep.driver._STOP_S", 60.0)

    assert drive(folder, make_cells(specs(notes.folder, "bf16")), Busy, Limits(cell_s=30.0, all_s=90.0)) == "interrupted"
    row = rows(folder)["bf16-none"]
    assert (row["status"], row["reason"]) == ("interrupted", "the sweep's time was over")
    failure = read_manifest(folder).failure
    assert failure is not None
    assert failure.message == "the time was over, and 1 of 1 cells have no result"


def test_a_cell_that_fits_is_begun_before_one_that_does_not(folder: Path, notes: Notes):
    assert drive(folder, make_cells(specs(notes.folder, "bf16"))) == "ok"
    asked = [*specs(notes.folder, "bf16"), *specs(notes.folder, "int8wo", compile="regional"), *specs(notes.folder, "int8dq")]
    assert drive(folder, make_cells(asked), limits=Limits(cell_s=900.0, all_s=30.0)) == "interrupted"
    assert [(name, each["status"]) for name, each in rows(folder).items()] == [
        ("bf16-none", "ok"),
        ("int8wo-regional", "queued"),
        ("int8dq-none", "ok"),
    ]
    found = rows(folder)["int8wo-regional"]["reason"]
    assert re.fullmatch(r"not begun: 2\d s were left, and it may take 60 s", found)

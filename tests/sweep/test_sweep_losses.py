"""What is no result of a cell is not taken for one, and what is one is not lost."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from drive import Notes, Silent, Unprobed, drive, rows, specs

from profiler.core.errors import UsageError
from profiler.rundir.reader import read_manifest
from profiler.sweep.cells import Cell, make_cells
from profiler.sweep.driver import Limits
from profiler.sweep.folder import Header, SweepFolder
from profiler.sweep.live import LiveView
from profiler.sweep.session import Request, sweep


def test_a_cell_that_the_sweep_did_not_interrupt_is_started_again(folder: Path, notes: Notes):
    # A signal before it has a run, and a program that ends itself.
    notes.behave(bf16_none="term", int8wo_none="exit")
    anew: list[object] = []

    class Looking(Silent):
        def tell(self, cell: Cell) -> None:
            super().tell(cell)
            if cell.status == "running":
                anew.append((cell.reason, cell.seconds, cell.waited_s))

    view = Looking()
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo fp16")), view=view) == "ok"
    assert anew == [(None, None, None)] * 7, "what is told of a running cell is not of its last start"
    found = [(each["status"], each["attempts"], each["reason"]) for each in rows(folder).values()]
    why = "lost 3 times, the last time by an interruption that was not the sweep's: "
    assert found == [
        ("failed", 3, why + "bf16-none does term"),
        ("failed", 3, why + "interrupted as it should be"),
        ("ok", 1, None),
    ]
    assert view.told[:4] == [("bf16-none", "running"), ("bf16-none", "queued"), ("bf16-none", "running"), ("bf16-none", "queued")]
    notes.behave()
    assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo fp16"))) == "ok"
    assert len(notes.starts()) == 7, "a result is kept"


class Killer(Silent):
    """A signal comes once a cell runs."""

    number = signal.SIGTERM

    def tell(self, cell: Cell) -> None:
        if cell.status == "running":
            os.kill(os.getpid(), self.number)


def test_a_signal_to_sweep_and_cells_at_once_makes_no_result(folder: Path, notes: Notes):
    # As at the end of a job: every process hears it.
    notes.behave(bf16_none="term")
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), view=Killer()) == "interrupted"
    row = rows(folder)["bf16-none"]
    assert (row["status"], row["attempts"]) == ("interrupted", 1)


def test_a_signal_that_is_ignored_stays_so(folder: Path, notes: Notes):
    view = Killer()
    view.number = signal.SIGHUP
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert drive(folder, make_cells(specs(notes.folder, "bf16 int8wo")), view=view) == "ok"
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_cell_without_room_on_its_disk_ends_the_sweep_and_has_no_result(
    folder: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
):
    asked = Request(base=specs(notes.folder, "bf16")[0], schemes=["bf16", "int8wo", "fp16"], out=folder, child="fake_cell")
    monkeypatch.setattr("profiler.sweep.session.EXECUTORS", {"local": Unprobed})
    notes.behave(int8wo_none="full")
    full = os.strerror(errno.ENOSPC)
    with pytest.raises(UsageError, match=f"cannot write to {folder}: {full}: int8wo-none on .*/cpu") as caught:
        sweep(asked, Silent())
    assert caught.value.hint == "make room; the same command then goes on"
    assert [each["status"] for each in rows(folder).values()] == ["ok", "interrupted", "queued"]
    manifest = read_manifest(folder)
    assert manifest.failure is not None
    assert (manifest.status, manifest.failure.message[: len(full)]) == ("interrupted", full)
    notes.behave()
    assert sweep(asked, Silent()) == "ok"
    assert notes.starts() == ["bf16-none", "int8wo-none", "int8wo-none", "fp16-none"]


def test_a_good_run_that_was_not_sealed_is_there_for_the_next_sweep(folder: Path, notes: Notes):
    notes.behave(int8wo_none="failed")
    asked = specs(notes.folder, "bf16 int8wo")
    assert drive(folder, make_cells(asked)) == "ok"
    (folder / "sweep.json").unlink()
    (folder / ".work").mkdir()
    opened = SweepFolder(folder, Header(model="flux-tiny", steps=28), {}, "diffuscope sweep")
    opened.begin(make_cells(specs(notes.folder, "fp16")))
    for each in ("bf16-none", "int8wo-none"):
        (folder / each).rename(opened.work / each)
    (opened.work / "starter.log").touch()
    opened.close()
    assert [each.name for each in opened.work.iterdir()] == ["bf16-none"]
    assert drive(folder, make_cells(asked)) == "ok"
    assert notes.starts() == ["bf16-none", "int8wo-none", "int8wo-none"]
    assert not opened.work.exists()


def test_a_link_that_leads_nowhere_takes_no_place_of_a_run(folder: Path, notes: Notes):
    assert drive(folder, make_cells(specs(notes.folder, "bf16"))) == "ok"
    for name in ("bf16-none.damaged", "bf16-none.damaged-2"):
        shutil.rmtree(folder / "bf16-none")
        (folder / "bf16-none").symlink_to("nowhere")
        assert drive(folder, make_cells(specs(notes.folder, "bf16"))) == "ok"
        assert read_manifest(folder / "bf16-none").status == "ok"
        assert (folder / name).is_symlink()
    assert notes.starts() == ["bf16-none"] * 3


def test_a_clock_that_is_set_back_makes_no_cell_short(folder: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch):
    notes.behave(bf16_none="hang")
    hours = iter(range(10**6))
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - next(hours) * 3_600_000_000_000)
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), limits=Limits(cell_s=0.5)) == "ok"
    row = rows(folder)["bf16-none"]
    assert (row["status"], row["reason"]) == ("timeout", "took longer than 0 s")
    assert row["seconds"] >= 0.5
    assert row["waited_s"] >= 0


def test_a_reader_of_stderr_that_is_gone_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with LiveView(tmp_path, None) as view:
            cell = make_cells(specs(tmp_path, "bf16"))[0]
            view.tell(cell)
            view.tell(cell)
        # As the interpreter does when it ends.
        stderr.flush()
    print("the answer")
    assert capfd.readouterr().out == "the answer\n"


def test_what_a_program_says_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cell = make_cells(specs(tmp_path, "bf16"))[0]
    cell.status, cell.seconds, cell.reason = "failed", 1.0, "\x1b[2J gone"
    with LiveView(tmp_path, None) as view:
        view.tell(cell)
        cell.status, cell.seconds, cell.reason = "queued", None, "to be started again"
        view.tell(cell)
    assert capsys.readouterr().err == "bf16-none: failed, 1.0 s: \\x1b[2J gone\nbf16-none: queued: to be started again\n"

"""The folder of a sweep: whose it is, what is damaged in it, a disk that fills up, its caches."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from drive import Notes, Silent, Unprobed, drive, rows, specs, start, wait_until

from profiler.core.errors import UnreadableInput, UsageError
from profiler.core.spec import RunSpec
from profiler.rundir.writer import write_atomic
from profiler.sweep.cells import Cell, make_cells
from profiler.sweep.session import Request, sweep


def test_two_sweeps_do_not_share_a_folder(folder: Path, notes: Notes):
    notes.behave(bf16_none="wait")
    driver = start(folder, notes, "bf16")
    wait_until(lambda: bool(notes.starts()))
    with pytest.raises(UsageError, match="another sweep works in"):
        drive(folder, make_cells(specs(notes.folder, "bf16")))
    (folder / "go").touch()
    assert driver.wait(60) == 0
    assert notes.starts() == ["bf16-none"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, notes: Notes):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="holds something that is no sweep"):
        drive(tmp_path, make_cells(specs(notes.folder, "bf16")))
    assert (tmp_path / "mine.txt").read_text() == "precious"
    assert not (tmp_path / ".lock").exists()


def test_a_sweep_of_another_model_is_left_alone(folder: Path, notes: Notes):
    drive(folder, make_cells(specs(notes.folder, "bf16")))
    before = (folder / "sweep.json").read_text(), (folder / "run.json").read_text()
    left = folder / ".work" / "int8wo-none"
    left.mkdir(parents=True)
    other = Request(base=RunSpec(model="cogvideox-tiny"), out=folder)
    with pytest.raises(
        UsageError, match=f"is a sweep of {specs(notes.folder, 'bf16')[0].model}, this is of cogvideox-tiny"
    ) as caught:
        sweep(other, Silent())
    assert caught.value.hint == "name another folder with -o"
    assert ((folder / "sweep.json").read_text(), (folder / "run.json").read_text()) == before
    assert left.is_dir()
    drive(folder, make_cells(specs(notes.folder, "bf16")))
    assert notes.starts() == ["bf16-none"], "the folder was let go of, and nothing runs twice"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no list of a sweep's cells"),
        ("{", "is no list of a sweep's cells"),
        ('{"schema": 9, "cells": []}', "has schema 9"),
        ('{"schema": 1, "cells": [{"id": "a"}]}', "wrong shape"),
        ('{"schema": 1, "cells": [{"id": "a", "spec": {"model": "m"}, "status": "asleep"}]}', "has the status 'asleep'"),
    ],
)
def test_a_damaged_list_of_cells_is_one_error(folder: Path, notes: Notes, text: str, message: str):
    folder.mkdir()
    (folder / "sweep.json").write_text(text)
    with pytest.raises(UnreadableInput, match=message):
        drive(folder, make_cells(specs(notes.folder, "bf16")))
    assert notes.starts() == []
    assert (folder / "sweep.json").read_text() == text


@pytest.mark.parametrize(
    ("writes", "started"),
    [(0, 0), (3, 0), (4, 1), (5, 1), (9, 2)],
    ids=["begin", "start", "log", "result", "close"],
)
def test_a_disk_that_fills_up_is_one_error_and_loses_nothing(
    folder: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch, writes: int, started: int
):
    done: list[Path] = []

    def filling(path: Path, text: str) -> None:
        if len(done) == writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done.append(path)
        write_atomic(path, text)

    asked = Request(base=specs(notes.folder, "bf16")[0], schemes=["bf16", "int8wo"], out=folder, child="fake_cell")
    monkeypatch.setattr("profiler.sweep.session.EXECUTORS", {"local": Unprobed})
    with monkeypatch.context() as full:
        full.setattr("profiler.sweep.folder.write_atomic", filling)
        with pytest.raises(UsageError, match=f"cannot write to {folder}: No space left on device") as caught:
            sweep(asked, Silent())
    assert caught.value.hint == "make room; the same command then goes on"
    assert len(notes.starts()) == started
    assert sweep(asked, Silent()) == "ok"
    assert notes.starts() == ["bf16-none", "int8wo-none"], "what had ended was not run again"
    assert [(each["status"], each["run"]) for each in rows(folder).values()] == [("ok", "bf16-none"), ("ok", "int8wo-none")]


def test_each_cell_has_a_cache_of_its_own_where_asked(folder: Path, notes: Notes):
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), cache="cold") == "ok"
    assert not (folder / "cache").exists()


def test_a_cells_own_cache_goes_with_the_cell(folder: Path, notes: Notes):
    left: list[list[str]] = []

    class Looking(Silent):
        def tell(self, cell: Cell) -> None:
            left.append([each.name for each in (folder / ".work").glob("*.cache")])

    notes.behave(bf16_none="cache")
    assert drive(folder, make_cells(specs(notes.folder, "bf16")), cache="cold", view=Looking()) == "ok"
    assert "made cache" in (folder / "logs" / "bf16-none.log").read_text()
    assert left == [[], []], "a folder of gigabytes a cell would fill the disk"

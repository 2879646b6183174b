"""`sweep.json`: what is read of it, folders that no sweep made, and files that are not what they should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sweep_folders import cell, manifest, spec, sweep_json, sweep_of, write_run

from profiler.core.errors import UnreadableInput
from profiler.rundir.manifest import Failure, Manifest
from profiler.tables.sweep import SCHEMA, Extrapolated, extrapolated_steps, holds_runs, is_sweep, open_sweep

PARTS = {"from_steps": [4, 8], "fixed_ms": 100.0, "step_ms": 50.0, "error_ms": 3.0}


def test_cells_come_in_the_order_of_the_file_with_their_runs(tmp_path: Path):
    folder = sweep_of(tmp_path / "s", {"b": manifest(spec()), "a": manifest(spec("int8wo"))}, preset="quick", later="field")
    tables = open_sweep(folder)
    assert [each.cell.id for each in tables.cells] == ["b", "a"]
    assert [each.run and each.run.manifest.spec["scheme"] for each in tables.cells] == ["bf16", "int8wo"]
    assert tables.file is not None
    assert (tables.file.preset, tables.file.steps, tables.file.schema) == ("quick", 28, SCHEMA)
    assert is_sweep(folder) and holds_runs(folder)


def test_extrapolation_and_reasons_are_kept(tmp_path: Path):
    rows = [cell("a", spec(), extrapolated=PARTS), cell("b", spec("int8dq"), "oom", run=None, reason="no room")]
    sweep_json(tmp_path / "s", rows)
    first, second = open_sweep(tmp_path / "s").cells
    assert first.cell.extrapolated == Extrapolated(from_steps=[4, 8], fixed_ms=100.0, step_ms=50.0, error_ms=3.0)
    assert (second.cell.status, second.cell.reason, second.run, second.problem) == ("oom", "no room", None, "")


@pytest.mark.parametrize("step_ms", [-5.0, 0.0])
def test_a_step_of_no_time_that_an_earlier_sweep_wrote_is_noise(tmp_path: Path, step_ms: float):
    rows = [
        cell(name, spec(steps=8), extrapolated=PARTS | {"step_ms": step_ms}, reason=why)
        for name, why in (("a", None), ("b", "x"))
    ]
    sweep_json(tmp_path / "s", rows)
    first, second = (each.cell for each in open_sweep(tmp_path / "s").cells)
    said = "not extrapolated: calls of 4 and 8 steps took the same time"
    assert [(each.extrapolated, each.reason) for each in (first, second)] == [(None, said), (None, f"x; {said}")]
    assert extrapolated_steps(tmp_path / "s" / "a") is None


def test_the_steps_that_a_cell_was_extrapolated_to(tmp_path: Path):
    sweep_json(tmp_path / "s", [cell("a", spec(steps=4), extrapolated=PARTS), cell("b", spec(steps=4))], steps=50)
    assert [extrapolated_steps(tmp_path / "s" / name) for name in ("a", "b", "c")] == [50, None, None]
    assert extrapolated_steps(tmp_path / "a") is None
    (tmp_path / "s" / "sweep.json").write_text("{")
    assert extrapolated_steps(tmp_path / "s" / "a") is None


def test_a_run_that_is_gone_is_said_and_one_not_begun_is_not(tmp_path: Path):
    sweep_json(tmp_path / "s", [cell("a", spec()), cell("b", spec("int8wo"), "queued"), cell("c", spec("int8dq"), run=None)])
    gone, queued, without = open_sweep(tmp_path / "s").cells
    assert gone.problem == f"{tmp_path / 's' / 'a'} is no run directory"
    assert (queued.problem, without.problem) == ("", "")


def test_what_ran_when_the_sweep_died_was_interrupted(tmp_path: Path):
    folder = tmp_path / "s"
    sweep_json(folder, [cell("a", spec(), "running"), cell("b", spec("int8wo"), "queued")])
    assert [each.cell.status for each in open_sweep(folder).cells] == ["running", "queued"]
    (folder / "run.json").write_text(json.dumps(Manifest(kind="sweep", status="running", process={"pid": 2**22 + 5}).to_dict()))
    tables = open_sweep(folder)
    assert tables.status == "interrupted"
    assert [(each.cell.status, each.cell.reason) for each in tables.cells] == [
        ("interrupted", "the sweep ended while it ran"),
        ("queued", None),
    ]


def test_a_plain_folder_has_one_cell_a_recorded_run(tmp_path: Path):
    write_run(tmp_path / "good", manifest(spec()))
    failed = Manifest(status="oom", spec=spec("fp8wo"), failure=Failure(type="Oom", message="no room\nat all"))
    write_run(tmp_path / "oom", failed)
    write_run(tmp_path / "tuned", Manifest(kind="tune", status="ok", spec=spec()))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    (tmp_path / "notes.txt").write_text("mine")
    tables = open_sweep(tmp_path)
    assert tables.file is None
    assert [(each.cell.id, each.cell.status) for each in tables.cells] == [("broken", "failed"), ("good", "ok"), ("oom", "oom")]
    assert "run.json is not JSON" in tables.cells[0].problem
    assert holds_runs(tmp_path) and not holds_runs(tmp_path / "good")


def test_a_folder_without_runs_is_one_error(tmp_path: Path):
    with pytest.raises(UnreadableInput, match=r"holds no sweep\.json and no recorded run"):
        open_sweep(tmp_path)
    with pytest.raises(UnreadableInput, match="is no folder"):
        open_sweep(tmp_path / "nothing")
    assert not holds_runs(tmp_path / "nothing")


GOOD = {"schema": 1, "cells": [cell("a", spec())]}
BROKEN = {
    "no JSON": (b'{"schema": 1,', "cannot be read"),
    "no UTF-8": (b'{"schema": 1, "cells": [], "model": "\xff"}', "cannot be read"),
    "a list": (b"[]", "cannot be read"),
    "no schema": (b'{"cells": []}', "missing required field `schema`"),
    "a later schema": (b'{"schema": 2, "cells": "other"}', "has schema 2; this diffuscope reads up to 1"),
    "an earlier schema": (b'{"schema": 0, "cells": []}', "has schema 0, which was never written"),
    "nested too deep": (b'{"schema": 1, "cells": ' + b"[" * 100_000, "cannot be read"),
    "a cell without a spec": (b'{"schema": 1, "cells": [{"id": "a", "status": "ok"}]}', "missing required field `spec`"),
    "a status that is no text": (b'{"schema": 1, "cells": [{"id": "a", "spec": {}, "status": 1}]}', "Expected `str`"),
    "twice": (json.dumps({"schema": 1, "cells": [cell("a", spec()), cell("a", spec())]}).encode(), "'a' is there twice"),
    "a name of two lines": (json.dumps({"schema": 1, "cells": [cell("a\nb", spec())]}).encode(), "is no name of a cell"),
    "no name": (json.dumps({"schema": 1, "cells": [cell("", spec())]}).encode(), "is no name of a cell"),
    "up and out": (json.dumps({"schema": 1, "cells": [cell("a", spec(), run="../../etc")]}).encode(), "lies outside"),
    "from the root": (json.dumps({"schema": 1, "cells": [cell("a", spec(), run="/etc")]}).encode(), "lies outside"),
    "a long run": (json.dumps({"schema": 1, "cells": [cell("a", spec(), run="a" * 256)]}).encode(), "or nowhere: 'aaaa"),
    "a long path": (json.dumps({"schema": 1, "cells": [cell("a", spec(), run="a/" * 3000)]}).encode(), "or nowhere: 'a/a"),
    "a long name": (json.dumps({"schema": 1, "cells": [cell("a" * 256, spec())]}).encode(), "is no name of a cell"),
    "a batch of text": (
        json.dumps({"schema": 1, "cells": [cell("a", spec() | {"batch": "4"})]}).encode(),
        "spec.batch is '4'",
    ),
    "a batch too large": (json.dumps({"schema": 1, "cells": [cell("a", spec() | {"batch": 10**30})]}).encode(), "spec.batch is"),
    "an absurd part": (
        json.dumps({"schema": 1, "cells": [cell("a", spec(), extrapolated=PARTS | {"step_ms": 1e308})]}).encode(),
        "< 9.2",
    ),
    "an absurd count": (json.dumps({"schema": 1, "steps": 10**30, "cells": []}).encode(), "<= 92"),
    "an infinite time": (b'{"schema": 1, "cells": [{"id": "a", "spec": {}, "status": "ok", "seconds": 1e999}]}', "out of range"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_one_error(tmp_path: Path, name: str):
    raw, message = BROKEN[name]
    (tmp_path / "sweep.json").write_bytes(raw)
    with pytest.raises(UnreadableInput) as caught:
        open_sweep(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / "sweep.json") in caught.value.message


def test_a_folder_in_its_place_is_one_error(tmp_path: Path):
    (tmp_path / "sweep.json").mkdir()
    with pytest.raises(UnreadableInput, match="is no file of at most 64 MiB"):
        open_sweep(tmp_path)


def test_a_file_of_any_length_is_not_read(tmp_path: Path):
    folder = tmp_path / "s"
    sweep_json(folder, [cell("a", spec())])
    assert len(open_sweep(folder).cells) == 1
    with (folder / "sweep.json").open("r+b") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(UnreadableInput, match=r"sweep\.json is no file of at most 64 MiB"):
        open_sweep(folder)

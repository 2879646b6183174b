"""Answers kept beside a run are those that were made, and no others'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_folders import INT8, OOM, write_run

from dashboards import kept
from profiler.report.diagnose import diagnose, to_json
from profiler.tables.run import Run

STAMP: kept.Stamp = (("a", 1, 2),)


def never() -> Any:
    raise AssertionError("it was made again")


@pytest.mark.parametrize("name", [INT8, OOM])
def test_a_report_comes_back_as_it_was(golden: Path, tmp_path: Path, name: str):
    run = Run.open(golden / name)
    made = diagnose(run)
    # What is kept lies beside the run that it is of: here beside one of the test's.
    there = Run(write_run(tmp_path / "run"), run.manifest)
    kept.report(there, "x", [STAMP], lambda: made)
    found = kept.report(there, "x", [STAMP], never)
    assert found.run is there
    assert to_json(found) == to_json(made) | {"run": str(there.path)}
    assert (found.findings, found.rows, found.memory, found.not_checked) == (
        made.findings,
        made.rows,
        made.memory,
        made.not_checked,
    )
    assert (found.floor is None) == (made.floor is None)
    assert made.floor is None or (found.floor and found.floor.classes.equals(made.floor.classes))


def test_other_files_or_other_code_are_another_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = Run.open(write_run(tmp_path / "run"))
    assert kept.number(run, "x", [STAMP], lambda: 1.5) == 1.5
    assert kept.number(run, "x", [STAMP], never) == 1.5
    assert kept.number(run, "x", [(("a", 1, 3),)], lambda: 2.5) == 2.5
    monkeypatch.setattr(kept, "_code", lambda: "changed")
    assert kept.number(run, "x", [(("a", 1, 3),)], lambda: None) is None
    assert kept.number(run, "x", [(("a", 1, 3),)], never) is None


def test_what_was_damaged_is_made_again(tmp_path: Path):
    run = Run.open(write_run(tmp_path / "run"))
    kept.number(run, "x", [STAMP], lambda: 1.5)
    for damaged in ("{", "{{{"):
        (tmp_path / "run" / "cache" / "x" / "answer.json").write_text(damaged)
        assert kept.number(run, "x", [STAMP], lambda: 2.5) == 2.5

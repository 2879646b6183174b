"""Answers kept beside a run are those that were made, and no others'."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_folders import BF16, INT8, OOM, write_run

from dashboards import kept
from profiler.metrics.compare import compare
from profiler.metrics.compare_timelines import overlay
from profiler.report.compare_verdict import verdicts
from profiler.report.diagnose import diagnose, to_json
from profiler.tables.run import Run

STAMP: kept.Stamp = (("a", 1, 2),)


def never() -> Any:
    raise AssertionError("it was made again")


@pytest.mark.parametrize("name", [INT8, OOM])
def test_a_report_comes_back_as_it_was(golden: Path, tmp_path: Path, name: str):
    run = Run.open(golden / name)
    # What is kept lies beside the run that it is of: here beside one of the test's.
    there = Run(write_run(tmp_path / "run"), run.manifest)
    made = replace(diagnose(run), run=there)
    kept.report(there, "x", [STAMP], lambda: made)
    found = kept.report(there, "x", [STAMP], never)
    assert found.run is there
    assert to_json(found) == to_json(made)
    assert (found.findings, found.rows, found.memory, found.not_checked) == (
        made.findings,
        made.rows,
        made.memory,
        made.not_checked,
    )
    assert (found.floor is None) == (made.floor is None)
    assert made.floor is None or (found.floor and found.floor.classes.equals(made.floor.classes))


def test_a_comparison_comes_back_as_it_was(golden: Path, tmp_path: Path):
    new, base = (Run.open(golden / name) for name in (INT8, BF16))
    there = Run(write_run(tmp_path / "run"), new.manifest)
    made = replace(compare(new, base), run=there)
    kept.comparison(there, base, [STAMP], lambda: made)
    found = kept.comparison(there, base, [STAMP], never)
    assert (found.run, found.base) == (there, base)
    assert verdicts(found) == verdicts(made)
    assert (found.calls, found.memory, found.expected, found.quality) == (made.calls, made.memory, made.expected, made.quality)
    assert (found.differences, found.shared, found.unknown) == (made.differences, made.shared, made.unknown)
    assert {name: each.groups() for name, each in found.windows.items()} == {
        name: each.groups() for name, each in made.windows.items()
    }
    assert all(each.kernels.equals(made.windows[name].kernels) for name, each in found.windows.items())


def test_a_level_that_is_infinite_stays_so(golden: Path, tmp_path: Path):
    run = Run.open(golden / INT8)
    there = Run(write_run(tmp_path / "run"), run.manifest)
    same = replace(compare(run, run), run=there, base=there)
    kept.comparison(there, there, [STAMP], lambda: same)
    assert kept.comparison(there, there, [STAMP], never).quality.sqnr["last_latents"].db == math.inf


def test_memory_over_a_call_comes_back_as_it_was(golden: Path, tmp_path: Path):
    there = Run.open(write_run(tmp_path / "run"))
    (made,) = overlay([Run.open(golden / INT8)])
    assert made.points
    kept.overlaid(there, [STAMP], lambda: made)
    assert kept.overlaid(there, [STAMP], never) == made


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
    for damaged in ("{", "{{"):
        (tmp_path / "run" / "cache" / "x" / "answer.msgpack").write_text(damaged)
        assert kept.number(run, "x", [STAMP], lambda: 2.5) == 2.5

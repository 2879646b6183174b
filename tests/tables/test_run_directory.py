"""`Run.open`: manifest, ranks and tables of a directory."""

from __future__ import annotations

import json

import pytest

from profiler.core.errors import UnreadableInput
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run


@pytest.fixture
def path(tmp_path, make_trace, gpu_events):
    """A run of two ranks; rank 1 has a trace and places, rank 0 nothing."""
    for rank in (0, 1, 10):
        (tmp_path / "r" / f"rank{rank}").mkdir(parents=True)
    (tmp_path / "r" / "rank-x").mkdir()
    make_trace(gpu_events).rename(tmp_path / "r" / "rank1" / layout.TRACE)
    make_trace(gpu_events[:1]).rename(tmp_path / "r" / "rank1" / layout.PLACES)
    (tmp_path / "r" / "run.json").write_text(json.dumps(Manifest(status="ok").to_dict()))
    return tmp_path / "r"


def test_ranks_and_artifacts(path):
    run = Run.open(path)
    assert run.ranks == [0, 1, 10]
    assert (run.has(layout.TRACE, 1), run.has(layout.TRACE, 0)) == (True, False)


def test_tables_carry_their_rank_and_stay_apart_by_artifact(path):
    run = Run.open(str(path))
    assert run.trace(1).frame("gpu")["rank"].to_list() == [1] * 5
    assert run.trace(1, layout.PLACES).events == run.trace(1).events | {"gpu": 0, "runtime": 0}
    assert run.trace(1) is run.trace(1)
    assert {each.name for each in (path / "cache").iterdir()} == {"trace-rank1", "places-rank1"}


def test_a_missing_artifact_is_named(path):
    with pytest.raises(UnreadableInput, match=r"holds no rank0/trace\.json\.gz"):
        Run.open(path).trace(0)


@pytest.mark.parametrize("read", [Run.trace, Run.compile_log, Run.snapshot])
def test_a_sweep_names_its_cells(path, read):
    (path / "run.json").write_text(json.dumps(Manifest(kind="sweep", status="ok").to_dict()))
    with pytest.raises(UnreadableInput, match="is a sweep: its runs lie in it") as caught:
        read(Run.open(path))
    assert caught.value.hint == f"name a cell: {path}/CELL (diffuscope runs {path})"


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UnreadableInput, match=r"holds no run\.json"):
        Run.open(tmp_path)
    with pytest.raises(UnreadableInput, match="is no run directory"):
        Run.open(tmp_path / "none")

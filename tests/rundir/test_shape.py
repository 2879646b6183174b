"""A `run.json` of any shape gives a manifest or one error that names the place, never a traceback later."""

from __future__ import annotations

import copy
import json

import pytest

from profiler.cli.app import run as run_command
from profiler.core.errors import UnreadableInput
from profiler.core.spec import RunSpec
from profiler.rundir.layout import rank_numbers
from profiler.rundir.manifest import Failure, Lost, Manifest, Phase
from profiler.rundir.reader import read_manifest

_GARBAGE = [
    None,
    True,
    "x",
    -1,
    10**400,
    1e308,
    [],
    [None],
    {},
    {"a": None},
    {"name": [1], "pid": "x"},
    "\x1b[31m[red]\nX",
    "\ud800",
]


def _whole() -> dict:
    """A manifest with something in every field that a reader looks at."""
    linear = {"module": "transformer.a", "scheme": "left", "reason": "why", "rows": 1}
    applied = {"base_dtype": "bfloat16", "linears": [linear], "compiled": ["a"], "notes": ["n"], "graphs": 1, "recompiles": 0}
    times = {"dur_ns": 5, "calls_ns": [5, 6, 7], "iterations_ns": [5, 6], "steps": 4}
    manifest = Manifest(
        status="running",
        process={"pid": 1 << 21, "start_ticks": 5},
        spec=RunSpec(model="m", steps=4, height=8, width=8, guidance=1.5).to_dict(),
        applied=applied,
        environment={"gpu": {"name": "GPU", "capability": [9, 0]}, "cpu": {"model": "c"}, "versions": {"torch": "2"}},
        phases=[Phase(name="load", start_ns=1, end_ns=2, alloc_bytes=3, peak_bytes=4, detail={"first_call_ns": 5})],
        timed=times,
        untraced=times,
        traced=times,
        lost=[Lost(what="a", why="b")],
        failure=Failure(type="E", message="m", phase="load"),
    )
    return manifest.to_dict()


def _paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from _paths(each, (*path, key))


def _with(path, value):
    changed = copy.deepcopy(_whole())
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@pytest.mark.parametrize("garbage", _GARBAGE, ids=lambda each: repr(each)[:20])
def test_garbage_anywhere_is_shown_or_refused(garbage, tmp_path, capsys):
    run = tmp_path / "runs" / "r"
    run.mkdir(parents=True)
    for path in _paths(_whole()):
        if path:
            (run / "run.json").write_text(json.dumps(_with(path, garbage)))
            for command in (["show", str(run)], ["show", str(run), "--json"], ["runs", str(run.parent)]):
                assert run_command(command) in (0, 2), path
                captured = capsys.readouterr()
                assert "\x1b" not in captured.out + captured.err, path


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("timed", "iterations_ns", 1), "6", r"timed.iterations_ns\[1\] is '6', and should be a number"),
        (("phases", 0, "start_ns"), None, r"run.phases\[0\].start_ns is None, and should be a whole number"),
        (("applied", "linears", 0), 3, r"applied.linears\[0\] is 3, and should be an object"),
        (("applied", "linears", 0, "scheme"), {}, r"applied.linears\[0\].scheme is {}, and should be text"),
        (("lost", 0, "count"), True, r"run.lost\[0\].count is True"),
        (("spec", "steps"), "28", "spec.steps is '28'"),
    ],
)
def test_the_error_names_the_place(path, value, message, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(_with(path, value)))
    with pytest.raises(UnreadableInput, match=message):
        read_manifest(tmp_path)


def test_what_is_no_number_in_json_reads_as_absent(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(_with(("spec", "guidance"), float("nan"))))
    assert read_manifest(tmp_path).spec["guidance"] is None


def test_a_whole_manifest_reads_as_it_was_written(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(_whole() | {"status": "ok"}))
    assert read_manifest(tmp_path).to_dict() == _whole() | {"status": "ok"}


def test_half_a_surrogate_pair_reads_as_no_character_and_a_whole_one_as_its_own(tmp_path):
    raw = _whole()
    raw["phases"][0]["name"], raw["applied"]["notes"] = "warm\ud800up", ["\U0001f600"]
    (tmp_path / "run.json").write_text(json.dumps(raw))
    found = read_manifest(tmp_path)
    assert (found.phases[0].name, found.applied["notes"]) == ("warm\ufffdup", ["\U0001f600"])


@pytest.mark.parametrize("count", [0, -1, (1 << 16) + 1, 10**12])
def test_a_count_of_ranks_that_no_run_has_is_refused(tmp_path, count):
    (tmp_path / "run.json").write_text(json.dumps(Manifest().to_dict() | {"world_size": count}))
    with pytest.raises(UnreadableInput, match=f"world_size is {count}, and should be from 1 to 65536"):
        read_manifest(tmp_path)


def test_only_folders_of_our_own_naming_are_ranks(tmp_path):
    for name in ("rank0", "rank12", "rank00", "rank٣", "rank65536", "rank" + "9" * 200, "rank"):
        (tmp_path / name).mkdir()
    (tmp_path / "rank3").write_text("")
    assert rank_numbers(tmp_path) == [0, 12]

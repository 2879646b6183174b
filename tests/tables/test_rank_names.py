"""Whose trace a file is, by what tools call their files."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest
from rank_traces import Planted, ranks_of

from profiler.core.errors import UnreadableInput
from profiler.tables.importing_ranks import find_ranks
from profiler.tables.rank_names import host_of_name, rank_of_name, ranks_by_place


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("rank_3/trace.json.gz", 3),
        ("trace.rank.3.step.100.json", 3),
        ("dp0_pp0_tp3_rank3.1732000000000.pt.trace.json.gz", 3),
        ("rank=3.json", 3),
        ("trace_3.json", 3),
        ("node1_4711.1732000000000.pt.trace.json.gz", None),
        ("node3/trace.json", None),
    ],
)
def test_a_name_that_says_rank_or_has_one_number(name, rank):
    assert rank_of_name(Path(name)) == rank


@pytest.mark.parametrize(
    ("names", "ranks"),
    [
        (["node1/trace.json", "node0/trace.json"], [1, 0]),
        (["1/trace.json.gz", "0/trace.json.gz"], [1, 0]),
        (["flux_0_of_2.json", "flux_1_of_2.json"], [0, 1]),
        (["p-TP-0.json", "p-TP-1.json", "p-TP-2.json"], [0, 1, 2]),
        (["node0/gpu0.json", "node0/gpu1.json", "node1/gpu0.json", "node1/gpu1.json"], None),
        (["host_11.170.pt.trace.json", "host_12.171.pt.trace.json"], None),
        (["step_1.json", "step_2.json"], None),
        (["a0.json", "b1.json"], None),
        (["a0.json"], None),
    ],
)
def test_else_the_one_number_that_counts_from_0(names, ranks):
    assert ranks_by_place([PurePosixPath(each) for each in names]) == ranks


def test_the_host_is_in_the_name_that_torch_gives():
    name = Path("node1.lan_4711.1732000000000.pt.trace.json.gz")
    assert host_of_name(name, 4711) == "node1.lan"
    assert host_of_name(name, 12) == host_of_name(Path("worker_1.json"), 1) == host_of_name(Path("worker_1.json"), None) == ""


def _write(folder: Path, names: list[str]) -> None:
    for name, trace in zip(names, ranks_of(Planted(world=2, steps=1, layers=1)), strict=True):
        del trace["distributedInfo"]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(trace))


def test_traces_that_say_no_rank_are_told_apart_by_their_names(tmp_path):
    _write(tmp_path, ["node0/trace.json", "node1/trace.json"])
    kept, lost = find_ranks(tmp_path)
    assert ([(each.rank, each.path.parent.name) for each in kept], lost) == ([(0, "node0"), (1, "node1")], [])


def test_torchs_own_names_without_a_rank_are_one_error_with_what_to_do(tmp_path):
    _write(tmp_path, ["host_1000.171.pt.trace.json", "host_1001.170.pt.trace.json"])
    with pytest.raises(UnreadableInput, match=r"\(host_1000\S+ says no rank \(distributedInfo\.rank\)") as caught:
        find_ranks(tmp_path)
    assert caught.value.hint == "name each by its rank: rank0.json, rank1.json, ..."
    (tmp_path / "host_1000.171.pt.trace.json").rename(tmp_path / "host_1000.171.rank0.pt.trace.json")
    kept, lost = find_ranks(tmp_path)
    assert [each.rank for each in kept] == [0] and [each.what for each in lost] == ["host_1001.170.pt.trace.json"]


def test_ranks_whose_names_have_one_host_share_its_clock(tmp_path):
    _write(tmp_path, ["rank0/h_1000.170.pt.trace.json", "rank1/h_1001.171.pt.trace.json"])
    assert [each.host for each in find_ranks(tmp_path)[0]] == ["h", "h"]

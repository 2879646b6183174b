"""A folder of foreign rank traces: each filed as its rank; what is cut, missing, twice there or of another run is named."""

from __future__ import annotations

import gzip
import json

import pytest
from rank_traces import Planted, ranks_of, write

from profiler.core.errors import UnreadableInput, UsageError
from profiler.report.show import show_data
from profiler.report.show_text import show_text
from profiler.rundir.reader import read_manifest
from profiler.tables.importing_ranks import find_ranks, import_ranks
from profiler.tables.ranks import rank_facts
from profiler.tables.run import Run

PLANTED = Planted(world=3, steps=1, layers=2)


def _lost(run):
    return {each.what: each.why for each in run.manifest.lost}


def test_ranks_are_read_from_the_traces_not_from_the_names(tmp_path):
    paths = write(tmp_path / "in", PLANTED, "rank{rank}.json")
    paths[0].rename(tmp_path / "in" / "last.json")
    paths[2].rename(tmp_path / "in" / "rank0.json")
    import_ranks(tmp_path / "in", tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert (run.ranks, run.manifest.world_size, run.manifest.status, run.manifest.lost) == ([0, 1, 2], 3, "ok", [])
    assert run.manifest.environment["gpu"]["name"] == "NVIDIA H100 80GB HBM3"
    for rank in run.ranks:
        assert run.trace(rank).metadata["distributedInfo"]["rank"] == rank
        assert run.trace(rank).frame("gpu")["rank"].unique().to_list() == [rank]
        assert run.manifest.artifacts[f"rank{rank}/trace.json.gz"]["size_bytes"] > 0


@pytest.mark.parametrize(
    "name", ["run_rank-{rank}_x.json.gz", "trace_{rank}.json", "rank{rank}/profile.json", "{rank}.pt.trace.json"]
)
def test_else_the_names_tell(tmp_path, name):
    traces = ranks_of(PLANTED)
    for rank, trace in enumerate(traces):
        del trace["distributedInfo"]
        path = tmp_path / "in" / name.format(rank=rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(trace).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    assert [(each.rank, each.world_size) for each in find_ranks(tmp_path / "in")[0]] == [(rank, None) for rank in range(3)]


def test_a_rank_that_stands_behind_the_events_is_found(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, trace in zip("abc", ranks_of(PLANTED), strict=True):
        about = trace.pop("distributedInfo")
        (folder / f"{name}.json").write_text(json.dumps(trace | {"distributedInfo": about}))
    assert [(each.rank, each.path.name) for each in find_ranks(folder)[0]] == [(0, "a.json"), (1, "b.json"), (2, "c.json")]


def test_one_rank_cut_one_missing_and_the_others_whole(tmp_path):
    paths = write(tmp_path / "in", Planted(world=4, steps=2), "rank{rank}.json")
    paths[3].unlink()
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: len(whole) * 2 // 3])
    run = import_ranks(tmp_path / "in", tmp_path / "run")
    cut = "the file ends inside an event (truncated file); what came after is unknown"
    assert _lost(run) == {"rank 3": "the folder holds no trace of it", "rank1/trace.json.gz": cut}
    assert [each["what"] for each in show_data(run, rank=1)["lost"]["items"]] == ["rank 3", "rank1/trace.json.gz"]
    assert [run.trace(rank).lost for rank in (0, 2)] == [{}, {}]
    assert any("truncated" in why for why in run.trace(1).lost)
    assert 0 < run.trace(1).events["gpu"] < run.trace(0).events["gpu"]
    facts = rank_facts(Run.open(tmp_path / "run"))
    assert [(each.rank, each.status) for each in facts] == [(0, "ok"), (1, "ok"), (2, "ok"), (3, "missing")]


def test_what_is_of_another_run_or_no_trace_is_named(tmp_path):
    folder = tmp_path / "in"
    write(folder, PLANTED, "rank{rank}.json")
    (foreign,) = write(tmp_path / "other", Planted(world=1, steps=1, layers=1), "x{rank}.json")
    foreign.rename(folder / "foreign.json")
    late = ranks_of(PLANTED)[1]
    late["baseTimeNanoseconds"] += 5 * 3600 * 10**9
    (folder / "late.json").write_text(json.dumps(late))
    (folder / "again.json").write_text(json.dumps(ranks_of(PLANTED)[2]))
    (folder / "notes.json").write_text('{"a": 1}')
    (folder / "empty.json").write_text("")
    run = import_ranks(folder, tmp_path / "run")
    lost = _lost(run)
    assert run.ranks == [0, 1, 2]
    assert lost["foreign.json"] == "of another run: its world size is 1, that of the others 3"
    assert lost["late.json"] == "of another run: it began 5.0 h apart from the others"
    assert lost["rank2.json"] == "a second trace of rank 2, beside again.json"
    assert "traceEvents" in lost["notes.json"] and "is empty" in lost["empty.json"]
    assert len(lost) == 5
    assert read_manifest(tmp_path / "run").lost == run.manifest.lost


def test_a_folder_without_a_rank_is_one_clear_error(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(UnreadableInput, match="holds no trace of a rank"):
        import_ranks(folder, tmp_path / "run")
    (folder / "notes.json").write_text("{}")
    with pytest.raises(UnreadableInput, match=r"notes\.json"):
        import_ranks(folder, tmp_path / "run")
    with pytest.raises(UnreadableInput, match="is no folder"):
        find_ranks(tmp_path / "nothing")
    write(folder, PLANTED)
    with pytest.raises(UsageError, match="--timed-ms -1 is no duration"):
        import_ranks(folder, tmp_path / "run", timed_ms=-1)
    assert not (tmp_path / "run").exists()
    import_ranks(folder, tmp_path / "run", timed_ms=5)
    with pytest.raises(UnreadableInput, match="is a run directory already"):
        find_ranks(tmp_path / "run")


def _said(tmp_path, **distributed):
    """Two ranks, `distributedInfo` changed in both."""
    traces = ranks_of(Planted(world=2, steps=1, layers=1))
    for trace in traces:
        trace["distributedInfo"] |= distributed
    return _written(tmp_path, {f"rank{rank}.json": trace for rank, trace in enumerate(traces)})


def _written(tmp_path, traces):
    (tmp_path / "in").mkdir()
    for name, trace in traces.items():
        (tmp_path / "in" / name).write_text(json.dumps(trace))
    return tmp_path / "in"


def test_a_world_size_that_no_run_has_is_not_believed(tmp_path):
    ranks, lost = find_ranks(_said(tmp_path, world_size=10**12))
    assert ([each.rank for each in ranks], [each.world_size for each in ranks], lost) == ([0, 1], [None, None], [])


def test_a_thousand_missing_ranks_are_one_word_and_few_rows(tmp_path):
    run = import_ranks(_said(tmp_path, world_size=1000), tmp_path / "run")
    assert [(each.what, each.count) for each in run.manifest.lost] == [("ranks 2 to 999", 998)]
    shown = show_text(show_data(run), 10, 100)
    assert shown.count(" left no folder") == 8
    assert "990 more ranks have no times, the last of them rank 999" in shown


def test_a_date_in_a_name_is_no_rank(tmp_path):
    trace, other = ranks_of(Planted(world=2, steps=1, layers=1))
    del trace["distributedInfo"], other["distributedInfo"]
    ranks, lost = find_ranks(_written(tmp_path, {"rank20241123.json": trace, "rank0.json": other}))
    assert [each.rank for each in ranks] == [0]
    assert [each.what for each in lost] == ["rank20241123.json"]

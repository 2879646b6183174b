"""Snapshots made by hand: every form that torch has written, what is shared, what is cached, what the events leave out."""

from __future__ import annotations

import gzip
import pickle
import random

import polars as pl
import pytest
from snapshots import block, event, frame, segment, snapshot, write

from profiler.core.errors import UnreadableInput
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.writer import RunWriter
from profiler.tables import snapshot as tables
from profiler.tables.run import Run
from profiler.tables.snapshot import open_snapshot
from profiler.tables.snapshot_schema import NO_STACK, TABLES

_AT = 1 << 40


@pytest.fixture
def opened(tmp_path):
    """Open data, or the bytes of a pickle, as a snapshot."""

    def make(data, protocol=4):
        return open_snapshot(write(tmp_path / "memory.pickle", data, protocol), tmp_path / "cache")

    return make


def _alloc(number=0, **more):
    return event("alloc", _AT + number * 512, 512, 1000 + number, **more)


def _stacks(found):
    frames = found.frame("stacks").sort("stack", "depth")
    return {key: group["name"].to_list() for (key,), group in frames.group_by("stack", maintain_order=True)}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("packed", [False, True])
def test_every_protocol_is_read_plain_or_gzipped(opened, protocol, packed):
    data = pickle.dumps(snapshot([_alloc(frames=[frame("f")])], segments=[segment(_AT, block(_AT, 512))]), protocol)
    found = opened(gzip.compress(data, mtime=0) if packed else data)
    assert found.rows == {"events": 1, "blocks": 1, "segments": 1, "annotations": 0, "stacks": 1}


def test_tables_without_rows_have_their_columns(opened):
    found = opened(snapshot([_alloc()]))
    for name, table in TABLES.items():
        assert dict(found.frame(name).schema) == table.dtypes
        assert dict(found.lazy(name).collect_schema()) == table.dtypes
    assert found.frame("events")["stack"].to_list() == [NO_STACK]


def test_devices_are_told_apart_and_each_counts_its_own_events(opened):
    found = opened(snapshot([], [_alloc(0), _alloc(1)], [_alloc(2)])).frame("events")
    assert found.select("device", "index", "address").rows() == [(1, 0, _AT), (1, 1, _AT + 512), (2, 0, _AT + 1024)]


def test_stacks_are_the_same_by_content_whether_frames_are_shared_or_not(opened):
    inner, outer = frame("inner"), frame("outer")
    shared = [inner, outer]
    lists = [shared, shared, [inner, outer], [frame("inner"), frame("outer")], [inner], [outer, inner], [], [frame("inner", 2)]]
    found = opened(snapshot([_alloc(number, frames=frames) for number, frames in enumerate(lists)]))
    events = found.frame("events")["stack"].to_list()
    assert events == [0, 0, 0, 0, 1, 2, NO_STACK, 3]
    assert _stacks(found) == {0: ["inner", "outer"], 1: ["inner"], 2: ["outer", "inner"], 3: ["inner"]}


def test_a_shared_list_in_events_blocks_and_segments_is_one_stack(opened):
    frames = [frame("f")]
    found = opened(
        snapshot([_alloc() | {"frames": frames}], segments=[segment(_AT, block(_AT, 512, frames=frames), frames=frames)])
    )
    assert [found.frame(each)["stack"].to_list() for each in ("events", "blocks", "segments")] == [[0], [0], [0]]
    assert found.rows["stacks"] == 1


@pytest.mark.parametrize("unshared", [False, True])
def test_stacks_that_look_alike_at_a_glance_are_told_apart(opened, unshared):
    """Hundreds of stacks of one length whose sampled frames are the same: more than are compared one by one."""
    same, leaves = [frame(f"f{number}") for number in range(9)], [frame(f"leaf{number}") for number in range(300)]
    pick, events, expected = random.Random(1), [], []
    for number in range(2000):
        leaf = pick.randrange(300)
        frames = [*same[:8], leaves[leaf], same[8]]
        events.append(_alloc(number, frames=[dict(each) for each in frames] if unshared else frames))
        expected.append([each["name"] for each in frames])
    found = opened(snapshot(events))
    stacks = _stacks(found)
    assert [stacks[each] for each in found.frame("events")["stack"]] == expected
    assert len(stacks) == len({tuple(each) for each in expected})


def test_long_traces_keep_their_order_over_chunks_and_row_groups(opened):
    count = 140_000
    texts = ["", "transformer.block.0", "transformer.block.1"]
    found = opened(snapshot([_alloc(number, user_metadata=texts[number % 3]) for number in range(count)]))
    events = found.frame("events")
    assert events["index"].to_list() == list(range(count))
    assert events["address"].to_list() == [_AT + number * 512 for number in range(count)]
    assert events["user_metadata"].to_list() == [texts[number % 3] for number in range(count)]


def test_an_oom_has_no_address_may_ask_for_anything_and_says_what_was_free(opened):
    oom = {"action": "oom", "device_free": 7, "size": 1 << 60, "stream": 0, "time_us": 9, "frames": []}
    found = opened(snapshot([_alloc(), oom, oom | {"addr": 0}, _alloc(1)])).frame("events")
    columns = found.select("action", "address", "size_bytes", "device_free_bytes").rows()
    assert columns[1:3] == [("oom", None, 1 << 60, 7), ("oom", 0, 1 << 60, 7)]
    assert [columns[0], columns[3]] == [("alloc", _AT, 512, None), ("alloc", _AT + 512, 512, None)]


def test_contexts_metadata_and_pools(opened):
    events = [
        _alloc(0, compile_context="N/A", user_metadata="", pool_id=(0, 0)),
        _alloc(1, compile_context="0/1", user_metadata="vae.decoder", pool_id=(0, 3)),
        _alloc(2, compile_context=None, user_metadata=None),
        _alloc(3),
    ]
    found = opened(snapshot(events)).frame("events")
    assert found["compile_context"].to_list() == ["", "0/1", "", ""]
    assert found["user_metadata"].to_list() == ["", "vae.decoder", "", ""]
    assert found.select("pool_a", "pool_b").rows() == [(0, 0), (0, 3), (None, None), (None, None)]


def test_text_that_no_utf8_holds_is_replaced(opened):
    found = opened(snapshot([_alloc(frames=[frame("f\ud800")], user_metadata="m\udcff")]))
    assert found.frame("stacks")["name"].to_list() == ["f?"]
    assert found.frame("events")["user_metadata"].to_list() == ["m?"]


def test_a_line_that_python_did_not_know_is_minus_one(opened):
    assert opened(snapshot([_alloc(frames=[frame("f", 2**64 - 1)])])).frame("stacks")["line"].to_list() == [-1]


def test_events_of_unknown_actions_are_counted_and_the_others_keep_their_index(opened):
    found = opened(snapshot([_alloc(0), event("user_defined", 0, 0, 5), _alloc(1), event("user_defined", 0, 0, 6)]))
    assert found.frame("events")["index"].to_list() == [0, 2]
    assert found.lost == {"events of action 'user_defined' are not known": 2}


def test_blocks_lie_in_their_segments(opened):
    blocks = [
        block(_AT, 512),
        block(_AT + 512, 1024, "inactive", requested_size=600),
        block(_AT + 1536, 512, "active_pending_free"),
    ]
    found = opened(snapshot([], segments=[segment(_AT, *blocks, device=3, segment_pool_id=(1, 2), is_expandable=True)]))
    assert found.frame("blocks").drop("stack", "rank").rows() == [
        (3, _AT, _AT, 512, 512, "active_allocated"),
        (3, _AT, _AT + 512, 1024, 600, "inactive"),
        (3, _AT, _AT + 1536, 512, 512, "active_pending_free"),
    ]
    assert found.frame("segments").select("device", "pool_a", "pool_b", "expandable").rows() == [(3, 1, 2, True)]


def test_the_state_as_the_documentation_calls_it(opened):
    found = opened(snapshot([], segments=[segment(_AT, block(_AT, 512, "active_awaiting_free"))]))
    assert found.frame("blocks")["state"].to_list() == ["active_pending_free"]


def test_blocks_without_addresses_lie_one_after_the_other(opened):
    """As torch before 2.2 wrote them."""
    blocks = [{"size": 512, "requested_size": 100, "state": "active_allocated"}, {"size": 1536, "state": "inactive"}]
    old = segment(_AT, *blocks)
    for key in ("segment_pool_id", "is_expandable", "frames", "requested_size"):
        del old[key]
    found = opened(snapshot([], segments=[old]))
    assert found.frame("blocks").select("address", "requested_bytes").rows() == [(_AT, 100), (_AT + 512, 1536)]
    assert found.frame("segments").select("requested_bytes", "pool_a", "expandable").rows() == [(None, None, False)]


def test_blocks_with_a_history(opened):
    """As torch before 2.1 wrote them; the latest owner is the first."""
    owners = [
        {"addr": _AT, "real_size": 300, "frames": [frame("now")]},
        {"addr": _AT, "real_size": 400, "frames": [frame("once")]},
    ]
    blocks = [{"size": 512, "state": "active_allocated", "history": owners}, {"size": 512, "state": "inactive", "history": []}]
    found = opened(snapshot([], segments=[segment(_AT, *blocks)]))
    assert found.frame("blocks")["requested_bytes"].to_list() == [300, 512]
    assert _stacks(found) == {0: ["now"]}


def test_segments_alone_are_a_snapshot(opened):
    """What torch.cuda.memory_snapshot() returns."""
    found = opened([segment(_AT, block(_AT, 512))])
    assert (found.rows["events"], found.rows["blocks"], found.settings) == (0, 1, {})


def test_events_without_times(opened):
    old = _alloc()
    del old["time_us"]
    assert opened(snapshot([old])).frame("events")["time_us"].to_list() == [None]


def test_a_snapshot_is_read_once(opened, monkeypatch):
    first = opened(snapshot([_alloc()]))
    monkeypatch.setattr(tables, "read_snapshot", None)
    path = first.folder.parents[1] / "memory.pickle"
    assert open_snapshot(path, first.folder.parent) == first


def test_a_snapshot_that_changed_is_read_again(opened):
    assert opened(snapshot([_alloc()])).rows["events"] == 1
    assert opened(snapshot([_alloc(), _alloc(1), _alloc(2)])).rows["events"] == 3


def test_a_snapshot_that_cannot_be_read_leaves_nothing_behind(opened, tmp_path):
    with pytest.raises(UnreadableInput):
        opened({})
    assert list((tmp_path / "cache").iterdir()) == []


def _run(tmp_path, **artifacts):
    writer = RunWriter(tmp_path / "run", Manifest(kind="import"))
    for name, data in artifacts.items():
        with writer.artifact(f"rank0/{name}.pickle.gz") as path:
            path.write_bytes(gzip.compress(pickle.dumps(data), mtime=0))
    writer.seal("ok")
    return Run.open(tmp_path / "run")


def test_a_run_has_the_snapshots_of_its_phases(tmp_path):
    run = _run(tmp_path, memory=snapshot([_alloc()]), memory_load=snapshot([_alloc(), _alloc(1)]))
    assert (run.snapshot().rows["events"], run.snapshot(artifact=layout.MEMORY_LOAD).rows["events"]) == (1, 2)
    assert run.snapshot() is run.snapshot()
    assert run.snapshot().frame("events")["rank"].to_list() == [0]


def test_a_run_without_a_snapshot_says_so(tmp_path):
    with pytest.raises(UnreadableInput, match=r"run holds no rank0/memory\.pickle\.gz") as caught:
        _run(tmp_path).snapshot()
    assert "--memory" in caught.value.hint


def _free(number, time_us=2000):
    at = _AT + number * 512
    return [event("free_requested", at, 512, time_us), event("free_completed", at, 512, time_us)]


def test_a_whole_history_leaves_nothing_out(opened):
    events = [_alloc(0), _alloc(1), *_free(0), _alloc(0)]
    found = opened(snapshot(events, segments=[segment(_AT, block(_AT, 512), block(_AT + 512, 512))]))
    (row,) = found.history().to_dicts()
    assert row == {
        "device": 0,
        "events": 5,
        "first_us": 1000,
        "last_us": 2000,
        "frees_without_alloc": 0,
        "freed_without_alloc_bytes": 0,
        "completions_without_request": 0,
        "live_without_alloc": 0,
        "live_without_alloc_bytes": 0,
        "live_without_alloc_with_stack": 0,
        "full": None,
    }


def test_what_came_before_the_first_event_is_counted(opened):
    """A ring buffer that kept the latest six of twelve events, cut between the two events of a free."""
    whole = [
        _alloc(0, frames=[frame("f")]),
        _alloc(1),
        _alloc(2),
        *_free(1),
        _alloc(1),
        *_free(2),
        _alloc(3),
        *_free(3),
        _alloc(2),
    ]
    blocks = [block(_AT + number * 512, 512, requested_size=500, frames=[frame("f")]) for number in range(3)]
    found = opened(snapshot(whole[-6:], segments=[segment(_AT, *blocks, block(_AT + 1536, 512, "inactive"))]))
    (row,) = found.history(max_entries=6).to_dicts()
    assert (row["events"], row["full"]) == (6, True)
    # 2 was allocated outside and freed inside; 0 and the second life of 1 were allocated outside and live on.
    assert (row["frees_without_alloc"], row["completions_without_request"]) == (1, 0)
    assert (row["live_without_alloc"], row["live_without_alloc_bytes"], row["live_without_alloc_with_stack"]) == (2, 1000, 2)
    cut = opened(snapshot(whole[-5:], segments=[segment(_AT, *blocks)])).history(max_entries=6)
    assert cut.select("frees_without_alloc", "completions_without_request", "full").rows() == [(0, 1, False)]


def test_a_device_with_blocks_alone_has_a_history_too(opened):
    found = opened(snapshot([], [_alloc()], segments=[segment(_AT, block(_AT, 512))])).history(10)
    assert found.select("device", "events", "live_without_alloc", "full").rows() == [(0, 0, 1, False), (1, 1, 0, False)]


def test_the_history_counts_events_that_are_not_known(opened):
    found = opened(snapshot([_alloc(), _alloc(1), event("user_defined", 0, 0, 5)]))
    assert found.history(max_entries=3)["full"].to_list() == [True]


def test_frames_can_be_joined_lazily(opened):
    found = opened(snapshot([_alloc(frames=[frame("f")])]))
    joined = found.lazy("events").join(found.lazy("stacks"), on="stack").filter(pl.col("name") == "f").collect()
    assert joined["size_bytes"].to_list() == [512]

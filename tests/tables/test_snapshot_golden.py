"""The tables of every recorded snapshot against a plain walk over its pickle."""

from __future__ import annotations

import pytest
from snapshots import RECORDED, plain

from profiler.tables.snapshot import open_snapshot
from profiler.tables.snapshot_schema import TABLES


@pytest.fixture(scope="module", params=RECORDED, ids=lambda path: "/".join(path.parts[-3:]))
def recorded(request, tmp_path_factory):
    """A recorded snapshot: its data, its tables, and the stacks of those by id."""
    tables = open_snapshot(request.param, tmp_path_factory.mktemp("cache"))
    return plain(request.param), tables, _stacks(tables)


def _stacks(tables):
    """Stack id to its frames, innermost first; -1 to none."""
    stacks = {-1: []}
    for row in tables.frame("stacks").to_dicts():
        frames = stacks.setdefault(row["stack"], [])
        assert row["depth"] == len(frames)
        frames.append((row["name"], row["file"], row["line"]))
    return {stack: tuple(frames) for stack, frames in stacks.items()}


def _plain_stack(frames):
    # torch writes the line -1 as an unsigned number.
    return tuple((each["name"], each["filename"], -1 if each["line"] == 2**64 - 1 else each["line"]) for each in frames)


def _rows(tables, name):
    return tables.frame(name).to_dicts()


def test_there_are_recorded_snapshots():
    assert len([path for path in RECORDED if "traces" in path.parts]) >= 7


def test_events_equal_a_plain_walk(recorded):
    data, tables, stacks = recorded
    expected = [(device, index, each) for device, trace in enumerate(data["device_traces"]) for index, each in enumerate(trace)]
    rows = _rows(tables, "events")
    assert len(rows) == len(expected) > 10_000
    for row, (device, index, each) in zip(rows, expected, strict=True):
        assert stacks[row.pop("stack")] == _plain_stack(each["frames"])
        assert row == {
            "index": index,
            "device": device,
            "time_us": each["time_us"],
            "action": each["action"],
            "address": each.get("addr"),
            "size_bytes": each["size"],
            "stream": each["stream"],
            "compile_context": "" if each["compile_context"] == "N/A" else each["compile_context"],
            "user_metadata": each["user_metadata"],
            "device_free_bytes": each.get("device_free"),
            "pool_a": None,
            "pool_b": None,
            "rank": 0,
        }


def test_blocks_equal_a_plain_walk(recorded):
    data, tables, stacks = recorded
    expected = [(segment, each) for segment in data["segments"] for each in segment["blocks"]]
    for row, (segment, each) in zip(_rows(tables, "blocks"), expected, strict=True):
        assert stacks[row.pop("stack")] == _plain_stack(each["frames"])
        assert row == {
            "device": segment["device"],
            "segment_address": segment["address"],
            "address": each["address"],
            "size_bytes": each["size"],
            "requested_bytes": each["requested_size"],
            "state": each["state"],
            "rank": 0,
        }


def test_segments_equal_a_plain_walk(recorded):
    data, tables, stacks = recorded
    for row, each in zip(_rows(tables, "segments"), data["segments"], strict=True):
        assert stacks[row.pop("stack")] == _plain_stack(each["frames"])
        assert row == {
            "device": each["device"],
            "address": each["address"],
            "total_bytes": each["total_size"],
            "allocated_bytes": each["allocated_size"],
            "active_bytes": each["active_size"],
            "requested_bytes": each["requested_size"],
            "stream": each["stream"],
            "kind": each["segment_type"],
            "pool_a": each["segment_pool_id"][0],
            "pool_b": each["segment_pool_id"][1],
            "expandable": each["is_expandable"],
            "rank": 0,
        }


def test_annotations_and_settings_equal_a_plain_walk(recorded):
    data, tables, _ = recorded
    assert _rows(tables, "annotations") == [each | {"rank": 0} for each in data["external_annotations"]]
    assert tables.settings == data["allocator_settings"]
    assert tables.lost == {}


def test_stacks_are_told_apart_by_content_and_no_other_is_there(recorded):
    data, _, found = recorded
    records = [each for trace in data["device_traces"] for each in trace]
    records += [each for segment in data["segments"] for each in [segment, *segment["blocks"]]]
    expected = {_plain_stack(each["frames"]) for each in records}
    assert len(found) == len(set(found.values()))
    assert set(found.values()) == expected | {()}


def test_every_table_has_the_columns_of_its_schema(recorded):
    _, tables, _ = recorded
    assert set(tables.rows) == set(TABLES)
    for name, table in TABLES.items():
        frame = tables.frame(name)
        assert dict(frame.schema) == table.dtypes
        assert frame.height == tables.rows[name]

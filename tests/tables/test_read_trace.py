"""A trace's events as columns."""

from __future__ import annotations

import gzip
import json

import polars as pl
import pytest

from profiler.tables import schema
from profiler.tables.columns import track_id
from profiler.tables.trace import open_trace


def test_events_go_to_the_table_of_their_category(make_trace, gpu_events, tmp_path):
    tables = open_trace(make_trace(gpu_events), tmp_path / "cache")
    assert tables.frame("gpu")["cat"].to_list() == ["kernel", "kernel", "gpu_memcpy", "gpu_memset", "gpu_user_annotation"]
    assert tables.frame("host")["name"].to_list() == ["aten::mm"]
    assert tables.frame("runtime").row(0, named=True)["correlation"] == 7
    assert tables.lost == {}
    assert tables.events == {"gpu": 5, "host": 1, "runtime": 1, "python": 0, "memory": 0, "instants": 0, "tracks": 0}


def test_values_keep_their_units_and_text(make_trace, gpu_events, tmp_path):
    tables = open_trace(make_trace(gpu_events), tmp_path / "cache")
    kernel = tables.frame("gpu").row(0, named=True)
    assert (kernel["ts_ns"], kernel["dur_ns"], kernel["stream"], kernel["grid"]) == (20_001, 3_002, 7, "[1, 2, 1]")
    assert tables.frame("gpu")["size_bytes"].to_list() == [None, None, 4096, 16, None]
    op = tables.frame("host").row(0, named=True)
    assert json.loads(op["input_dims"]) == [[2, 3], [3, 4]]
    assert json.loads(op["input_types"]) == ["float", "float"]
    assert op["concrete_inputs"] is None


@pytest.mark.parametrize("table", list(schema.TABLES))
def test_every_table_has_its_documented_columns_even_where_empty(make_trace, tmp_path, table):
    frame = open_trace(make_trace([]), tmp_path / "cache").frame(table)
    assert dict(frame.schema) == schema.TABLES[table].dtypes
    assert frame.height == 0
    assert all(column.doc for column in schema.TABLES[table].columns)


def test_the_written_columns_are_the_documented_ones(shared, tmp_path):
    tables = open_trace(shared / "h100" / "flux_small_item_breaks.trace.json.gz", tmp_path, rank=3)
    for name, count in tables.events.items():
        frame = tables.frame(name)
        assert dict(frame.schema) == schema.TABLES[name].dtypes
        assert frame.height == count
        assert frame["rank"].unique().to_list() in ([3], [])


@pytest.mark.parametrize(
    ("ts", "expected"),
    [
        ("4504639796072.917", 4_504_639_796_072_917),
        ("7900000000000.001", 7_900_000_000_000_001),
        ("1694039968933321", 1_694_039_968_933_321_000),
        ("0.0005", 0),
        ("-12.345", -12_345),
        ('"17.5"', 17_500),
    ],
)
def test_times_become_exact_nanoseconds(tmp_path, ts, expected):
    path = tmp_path / "t.json"
    path.write_text(f'{{"traceEvents": [{{"ph": "X", "cat": "cpu_op", "name": "a", "ts": {ts}, "dur": 1.5}}]}}')
    assert open_trace(path, tmp_path / "cache").frame("host")["ts_ns"].to_list() == [expected]


def test_every_thousandth_of_a_microsecond_survives(make_trace, make_span, tmp_path):
    base = 4_504_639_796_072
    events = [make_span("a", "cpu_op", float(f"{base}.{thousandth:03d}"), 1.0) for thousandth in range(1000)]
    times = open_trace(make_trace(events), tmp_path / "cache").frame("host")["ts_ns"]
    assert times.to_list() == [base * 1000 + thousandth for thousandth in range(1000)]


def test_memory_instants_have_a_table_of_their_own(make_trace, tmp_path):
    args = {
        "Addr": 94624923096512,
        "Bytes": -2048,
        "Total Allocated": 4096,
        "Total Reserved": 0,
        "Device Type": 0,
        "Device Id": -1,
    }
    events = [
        {"ph": "i", "cat": "cpu_instant_event", "s": "t", "name": "[memory]", "pid": 5, "tid": 6, "ts": 2.5, "args": args},
        {"ph": "i", "s": "g", "name": "Record Window End", "pid": "", "tid": "", "ts": 3},
    ]
    tables = open_trace(make_trace(events), tmp_path / "cache")
    assert tables.frame("memory").row(0, named=True) == {
        "pid": 5,
        "tid": 6,
        "ts_ns": 2500,
        "address": 94624923096512,
        "size_bytes": -2048,
        "allocated_bytes": 4096,
        "reserved_bytes": 0,
        "device_type": 0,
        "device": -1,
        "rank": 0,
    }
    assert tables.frame("instants")["name"].to_list() == ["Record Window End"]


def test_python_frames_keep_their_tree(make_trace, make_span, tmp_path):
    events = [
        make_span("a.py(1): f", "python_function", 1, 9, **{"Python id": 1, "Python parent id": None}),
        make_span(
            "nn.Module: Block_3", "python_function", 2, 5, **{"Python id": 2, "Python parent id": 1, "Python module id": 3}
        ),
    ]
    frame = open_trace(make_trace(events), tmp_path / "cache").frame("python")
    assert frame.select("python_id", "python_parent_id", "python_module_id").rows() == [(1, None, None), (2, 1, 3)]


def test_ids_as_text_are_numbers_where_they_are_numbers(make_trace, make_span, tmp_path):
    odd = make_span("k", "kernel", 1, 2) | {"pid": "0", "tid": "stream 7", "args": {"correlation": "12", "stream": "7"}}
    frame = open_trace(make_trace([odd, odd]), tmp_path / "cache").frame("gpu")
    assert frame.select("pid", "correlation", "stream").unique().rows() == [(0, 12, 7)]
    assert frame["tid"].unique().to_list() == [track_id("stream 7")]
    assert track_id("stream 7") < 0 != track_id("stream 8")


def test_track_names_keep_the_ids_as_written(make_trace, tmp_path):
    events = [
        {"ph": "M", "name": "process_name", "pid": "Spans", "tid": 0, "ts": 1, "args": {"name": "python"}},
        {"ph": "M", "name": "thread_sort_index", "pid": 4, "tid": 9, "ts": 1, "args": {"sort_index": 5}},
    ]
    frame = open_trace(make_trace(events), tmp_path / "cache").frame("tracks")
    assert frame.select("kind", "value", "pid_text", "tid_text").rows() == [
        ("process_name", "python", "Spans", "0"),
        ("thread_sort_index", "5", "4", "9"),
    ]
    assert frame["pid"].to_list() == [track_id("Spans"), 4]


def test_metadata_before_and_after_the_events_is_kept(tmp_path, gpu_events):
    path = tmp_path / "t.json"
    text = json.dumps(gpu_events, indent=2)
    after = '"traceName": "x", "baseTimeNanoseconds": 1000, "more": [{"a": 1}, {"b": 2}]'
    path.write_text(f'{{"schemaVersion": 1, "traceEvents": {text}, {after}}}')
    tables = open_trace(path, tmp_path / "cache")
    assert tables.metadata == {"schemaVersion": 1, "traceName": "x", "baseTimeNanoseconds": 1000, "more": [{"a": 1}, {"b": 2}]}
    assert tables.base_ns == 1000
    assert (sum(tables.events.values()), tables.lost) == (7, {})


def test_a_bare_list_of_events_is_a_trace(tmp_path, gpu_events):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(gpu_events))
    tables = open_trace(path, tmp_path / "cache")
    assert (sum(tables.events.values()), tables.lost, tables.base_ns) == (7, {}, 0)


def test_gzip_members_and_padding_are_one_stream(tmp_path, make_trace, gpu_events):
    raw = make_trace(gpu_events).read_bytes()
    path = tmp_path / "t.json.gz"
    path.write_bytes(gzip.compress(raw[:300], mtime=0) + gzip.compress(raw[300:], mtime=0) + b"\0" * 512)
    tables = open_trace(path, tmp_path / "cache")
    assert (tables.events["gpu"], tables.lost) == (5, {})


def test_rows_keep_file_order_across_files_of_the_cache(make_trace, make_span, tmp_path, monkeypatch):
    monkeypatch.setattr("profiler.tables.parts.PART_ROWS", 7)
    events = [make_span(f"op{index}", "cpu_op", 1000 - index, 1) for index in range(100)]
    tables = open_trace(make_trace(events), tmp_path / "cache", piece_bytes=500)
    assert len(list(tables.folder.glob("host-*.parquet"))) > 5
    assert tables.frame("host")["name"].to_list() == [f"op{index}" for index in range(100)]
    assert isinstance(tables.lazy("host"), pl.LazyFrame)

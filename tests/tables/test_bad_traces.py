"""Bad traces: one clear error, or what could be read with what was lost."""

from __future__ import annotations

import gzip
import json
import os

import pytest

from profiler.core.errors import UnreadableInput
from profiler.metrics.kernels import breakdown
from profiler.tables import stream
from profiler.tables.chunks import read_chunks
from profiler.tables.losses import Losses
from profiler.tables.trace import open_trace


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"hello", "is not JSON"),
        (b"\x00\x01\x02\x03", "is not JSON"),
        (b"{}", "without a list `traceEvents`"),
        (b"[]]", None),
        (b'"text"', "without a list `traceEvents`"),
        (b'{"traceEvents": null}', "without a list `traceEvents`"),
        (b'{"traceEvents": {"a": 1}}', "without a list `traceEvents`"),
        (b'{"note": "\\"traceEvents\\": ["}', "without a list `traceEvents`"),
        (b'{"inner": {"traceEvents": []}}', "without a list `traceEvents`"),
        (b'{"schemaVersion": 1, "trac', "ends before its first event"),
        (gzip.compress(gzip.compress(b'{"traceEvents": []}', mtime=0), mtime=0), "gzipped twice"),
        (gzip.compress(b'{"traceEvents": []}', mtime=0)[:10], "cannot be unpacked"),
        ('{"traceEvents": []}'.encode("utf-16"), "is not JSON"),
    ],
)
def test_what_is_no_trace_is_one_clear_error(tmp_path, content, message):
    path = tmp_path / "t.json"
    path.write_bytes(content)
    if message is None:
        assert open_trace(path, tmp_path / "cache").lost
        return
    with pytest.raises(UnreadableInput, match=message) as caught:
        open_trace(path, tmp_path / "cache")
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert not list((tmp_path / "cache").glob("*"))


def test_a_directory_and_a_missing_file_are_clear_errors(tmp_path):
    with pytest.raises(UnreadableInput, match="is a directory"):
        open_trace(tmp_path, tmp_path / "cache")
    with pytest.raises(UnreadableInput, match="No such file"):
        open_trace(tmp_path / "none.json", tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_a_clear_error(make_trace, tmp_path):
    path = make_trace([])
    path.chmod(0)
    with pytest.raises(UnreadableInput, match="Permission denied"):
        open_trace(path, tmp_path / "cache")


def test_a_byte_order_mark_is_no_obstacle(make_trace, gpu_events, tmp_path):
    path = make_trace(gpu_events)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert open_trace(path, tmp_path / "cache").events["gpu"] == 5


def test_a_truncated_file_keeps_its_whole_events(make_trace, gpu_events, tmp_path):
    whole = make_trace(gpu_events).read_bytes()
    path = tmp_path / "cut.json"
    path.write_bytes(whole[: whole.index(b"Memset") + 3])
    tables = open_trace(path, tmp_path / "cache")
    assert tables.events["gpu"] == 3
    assert tables.lost == {"the file ends inside an event (truncated file); what came after is unknown": 1}


def test_a_truncated_gzip_keeps_its_whole_events(shared, tmp_path):
    source = shared / "h100" / "flux_small_cudagraph.trace.json.gz"
    path = tmp_path / "cut.json.gz"
    path.write_bytes(source.read_bytes()[:12_000])
    tables = open_trace(path, tmp_path / "cache")
    assert 100 < sum(tables.events.values()) < 1176
    assert tables.lost == {"the gzip stream ends early (truncated file); what came after is unknown": 1}


def test_a_damaged_gzip_says_so(make_trace, make_span, tmp_path):
    events = [make_span(f"op {index} {index * 7919 % 1013}", "cpu_op", index, 1) for index in range(20_000)]
    packed = bytearray(gzip.compress(make_trace(events).read_bytes()))
    packed[len(packed) * 3 // 4] ^= 0xFF
    packed[-6] ^= 0xFF
    path = tmp_path / "bad.json.gz"
    path.write_bytes(packed)
    tables = open_trace(path, tmp_path / "cache")
    assert "damaged" in " ".join(tables.lost)


def test_cut_anywhere_is_never_a_traceback(make_trace, gpu_events, tmp_path):
    whole = make_trace(gpu_events, traceName="x").read_bytes()
    before = whole.index(b"[{")
    for length in range(len(whole) - 1):
        path = tmp_path / "cut.json"
        path.write_bytes(whole[:length])
        if length <= before:
            with pytest.raises(UnreadableInput):
                open_trace(path, tmp_path / "cache")
        else:
            tables = open_trace(path, tmp_path / "cache")
            assert tables.lost, length
            assert sum(tables.events.values()) <= 7


def test_negative_missing_and_zero_durations(make_trace, make_span, tmp_path):
    without = make_span("none", "kernel", 1, 0)
    del without["dur"]
    events = [
        make_span("zero", "kernel", 1, 0),
        make_span("negative", "kernel", 1, -2),
        without,
        make_span("good", "kernel", 5, 1),
    ]
    tables = open_trace(make_trace(events), tmp_path / "cache")
    assert tables.frame("gpu")["name"].to_list() == ["zero", "good"]
    assert tables.lost == {"negative duration": 1, "no readable duration": 1}


def test_missing_and_absurd_times(make_trace, make_span, tmp_path):
    without = make_span("none", "kernel", 1, 1)
    del without["ts"]
    tables = open_trace(
        make_trace([without, make_span("absurd", "kernel", 1e300, 1), make_span("good", "kernel", 5, 1)]), tmp_path / "cache"
    )
    assert tables.frame("gpu")["name"].to_list() == ["good"]
    assert tables.lost == {"no readable start time": 2}


def test_arguments_of_odd_types_cost_only_the_arguments(make_trace, make_span, tmp_path):
    odd = [
        make_span("a", "kernel", 1, 1, stream=[1, 2]),
        make_span("b", "kernel", 2, 1) | {"args": "text"},
        make_span("c", "kernel", 3, 1) | {"args": None},
        make_span("d", "kernel", 4, 1, correlation={"x": 1}),
        make_span("e", "kernel", 5, 1, stream=4),
    ]
    tables = open_trace(make_trace(odd), tmp_path / "cache")
    assert tables.frame("gpu")["name"].to_list() == ["a", "b", "c", "d", "e"]
    assert tables.frame("gpu")["stream"].to_list() == [None, None, None, None, 4]
    assert tables.lost == {"arguments of an unexpected type (the event itself is kept)": 3}


def test_numbers_beyond_64_bits_are_absent_not_fatal(make_trace, make_span, tmp_path):
    tables = open_trace(make_trace([make_span("a", "kernel", 1, 1, correlation=1 << 70, stream=3)]), tmp_path / "cache")
    assert tables.frame("gpu").select("correlation", "stream").rows() == [(None, 3)]


def test_what_is_no_event_is_counted(make_trace, make_span, tmp_path):
    events = [17, "text", None, [], {"name": "no phase"}, {"ph": 5}, make_span("a", "kernel", 1, 1), make_span("b", 3, 1, 1)]
    tables = open_trace(make_trace(events), tmp_path / "cache")
    assert tables.frame("gpu")["name"].to_list() == ["a"]
    assert tables.lost["not an event (no JSON object)"] == 4
    assert sum(tables.lost.values()) == 7


def test_phases_that_no_table_takes_are_counted_but_flows_are_not(make_trace, make_span, tmp_path):
    events = [
        {"ph": "B", "name": "x", "ts": 1},
        {"ph": "E", "name": "x", "ts": 2},
        {"ph": "s", "id": 1, "name": "ac2g", "ts": 1, "cat": "ac2g"},
        {"ph": "f", "id": 1, "name": "ac2g", "ts": 1, "cat": "ac2g", "bp": "e"},
        make_span("a", "cpu_op", 1, 1),
    ]
    tables = open_trace(make_trace(events), tmp_path / "cache")
    assert tables.lost == {"events of phase 'B' are not read": 1, "events of phase 'E' are not read": 1}
    assert sum(tables.events.values()) == 1


def test_malformed_json_inside_costs_one_event(make_trace, gpu_events, tmp_path):
    path = make_trace(gpu_events)
    path.write_bytes(path.read_bytes().replace(b'"bytes": 4096', b'"bytes": -nan("ind")'))
    tables = open_trace(path, tmp_path / "cache")
    assert tables.frame("gpu")["name"].to_list()[-2:] == ["Memset (Device)", "diffuscope/step/0"]
    assert (tables.events["gpu"], tables.lost) == (4, {"malformed JSON inside the event": 1})


def test_malformed_json_early_in_a_large_file_costs_one_event(make_trace, make_span, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "_MAX_EVENT", 4096)
    events = [make_span(f"op{index}", "cpu_op", index, 1) for index in range(2000)]
    path = make_trace(events)
    path.write_bytes(path.read_bytes().replace(b'"name": "op77"', b'"name": op77'))
    tables = open_trace(path, tmp_path / "cache", piece_bytes=16384)
    assert (tables.events["host"], tables.lost) == (1999, {"malformed JSON inside the event": 1})


def test_not_a_number_is_lost_with_its_arguments_only(make_trace, gpu_events, tmp_path):
    path = make_trace(gpu_events)
    path.write_bytes(path.read_bytes().replace(b'"bytes": 4096', b'"bytes": NaN'))
    tables = open_trace(path, tmp_path / "cache")
    assert (tables.events["gpu"], sum(tables.lost.values())) == (5, 1)


def test_bytes_that_are_no_text_are_replaced(make_trace, make_span, tmp_path):
    path = make_trace([make_span("caf\u00e9", "cpu_op", 1, 1), make_span("b", "cpu_op", 2, 1)])
    path.write_bytes(path.read_bytes().replace(b"caf\\u00e9", b"caf\xe9"))
    assert open_trace(path, tmp_path / "cache").frame("host")["name"].to_list() == ["caf\ufffd", "b"]


def test_names_with_brackets_and_braces_cut_nothing(make_trace, make_span, tmp_path):
    names = ['void f<{"a"}, {"b"}>', "x}, {y", "]}", '"traceEvents": [', "back\\slash", "emoji \U0001f600"]
    tables = open_trace(make_trace([make_span(name, "cpu_op", 1, 1) for name in names]), tmp_path / "cache", piece_bytes=64)
    assert tables.frame("host")["name"].to_list() == names


def test_an_event_larger_than_a_piece_is_read(make_trace, make_span, tmp_path):
    events = [make_span("a", "cpu_op", 1, 1), make_span("x" * 50_000, "cpu_op", 2, 1), make_span("b", "cpu_op", 3, 1)]
    tables = open_trace(make_trace(events), tmp_path / "cache", piece_bytes=1000)
    assert [len(name) for name in tables.frame("host")["name"]] == [1, 50_000, 1]


def test_nesting_without_end_is_no_crash(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text('{"traceEvents": [' + "[" * 200_000)
    tables = open_trace(path, tmp_path / "cache")
    assert sum(tables.events.values()) == 0 < sum(tables.lost.values())


def test_losses_stay_with_the_cached_tables(make_trace, make_span, tmp_path):
    path = make_trace([make_span("negative", "kernel", 1, -2), make_span("good", "kernel", 5, 1)])
    first = open_trace(path, tmp_path / "cache")
    again = open_trace(path, tmp_path / "cache")
    assert json.dumps(first.lost) == json.dumps(again.lost) == '{"negative duration": 1}'


def test_a_pipe_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "t.json")
    with pytest.raises(UnreadableInput, match="is a pipe or a device"):
        open_trace(tmp_path / "t.json", tmp_path / "cache")


@pytest.mark.parametrize("filler", [b" ", b"a", b"["])
def test_a_file_that_unpacks_to_no_event_takes_bounded_memory(tmp_path, filler, monkeypatch):
    """A few kilobytes that unpack to a gigabyte: what was skipped is let go before more is read."""
    monkeypatch.setattr(stream, "_MAX_EVENT", 1 << 16)
    path = tmp_path / "t.json.gz"
    path.write_bytes(gzip.compress(b'{"traceEvents": [' + (b'"' if filler == b"a" else b"") + filler * (1 << 24)))
    largest = 0
    reader = stream.EventStream(path, read_chunks(path, Losses(), 1 << 12), Losses(), piece_bytes=1 << 14)
    fill = reader._fill

    def watched(size):
        nonlocal largest
        fill(size)
        largest = max(largest, len(reader._buffer))

    reader._fill = watched
    assert list(reader) == []
    assert largest < 1 << 19


def test_lengths_that_no_run_has_are_lost_and_sums_stay_whole(make_trace, tmp_path):
    event = {"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": 1.0}
    tables = open_trace(make_trace([event | {"dur": 8.9e15}] * 2000 + [event | {"dur": 1.0}]), tmp_path / "cache")
    assert tables.lost == {"no readable duration": 2000}
    assert breakdown(tables).kernels["total_ns"].to_list() == [1000]

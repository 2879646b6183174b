"""Compile logs that are cut, garbled, of another torch, or no logs at all."""

from __future__ import annotations

import gzip
import json

import pytest
from compile_logs import artifact, fx_cache, graph_break, ids, metrics, record, span, start, string, write

from profiler.core.errors import UnreadableInput
from profiler.tables.chunks import read_chunks
from profiler.tables.compile_log import NO_LOG, open_compile_log
from profiler.tables.compile_log_records import BAD_HEADER, BAD_PAYLOAD, HALF, NO_RECORD, TOO_LARGE, read_records
from profiler.tables.losses import Losses

CUT = f"{HALF}; what came after is unknown"
MODEL = string(0, "model.py")


@pytest.fixture
def read(tmp_path):
    def tables(*records: str):
        return open_compile_log(write(tmp_path / "log", *records), tmp_path / "cache")

    return tables


def test_half_a_header_at_the_end(read):
    log = read(MODEL, start("0/0"), start("1/0")[:80])
    assert (log.lost, log.records) == ({CUT: 1}, 2)
    assert log.frame("compiles")["compile_id"].to_list() == ["0/0"]


def test_half_a_payload_at_the_end_keeps_what_the_header_says(read):
    log = read(MODEL, start("0/0"), fx_cache("miss", "fkey", "0/0")[:-20])
    assert log.lost == {CUT: 1}
    assert log.frame("compiles").select("cache", "fx_keys").row(0) == ("miss", [])


def test_a_payload_that_never_came(read):
    assert read(MODEL, fx_cache("miss", "fkey", "0/0").partition("\t")[0]).lost == {CUT: 1}


def test_a_missing_last_newline_loses_nothing(read):
    log = read(MODEL, start("0/0"), fx_cache("miss", "fkey", "0/0").removesuffix("\n"))
    assert (log.lost, log.frame("compiles")["fx_keys"].to_list()) == ({}, [["fkey"]])


def test_lines_that_are_no_record_are_counted(read):
    log = read(MODEL, "Traceback (most recent call last):\n", start("0/0"), "\x00\x01\x02 noise\n", start("1/0"))
    assert (log.lost, log.frame("compiles").height) == ({NO_RECORD: 2}, 2)


def test_a_damaged_header_costs_its_record_only(read):
    damaged = start("1/0").replace("{", "{{", 2)
    log = read(MODEL, start("0/0"), damaged, start("2/0"))
    assert (log.lost, log.frame("compiles")["compile_id"].to_list()) == ({BAD_HEADER: 1}, ["0/0", "2/0"])


def test_a_payload_that_is_no_json_is_counted(read):
    log = read(MODEL, artifact("fx_graph_cache_miss", "{no json", "0/0"), start("1/0"))
    assert log.lost == {BAD_PAYLOAD: 1}


def test_unknown_kinds_are_counted_and_harmless(read):
    strange = record("describe_future", {"a": [1]}, "payload\n\twith a tab", **ids("0/0"))
    log = read(MODEL, strange, artifact("new_artifact", "x", "0/0"), record("describe_future", 3), start("0/0"))
    assert log.unread == {"describe_future": 2, "new_artifact": 1}
    assert (log.lost, log.frame("compiles").height) == ({}, 1)


def test_fields_of_another_version(read):
    bare = record(
        "compilation_metrics", {"co_name": "f", "future_field": {"deep": [1]}, "start_time": 1795000000.25}, **ids("0/0")
    )
    log = read(MODEL, bare, record("compilation_metrics", {"co_name": 7}, **ids("1/0")), record("dynamo_start", {}, **ids("2/0")))
    rows = log.frame("compiles").select("compile_id", "function", "start_ns", "dur_ns").rows()
    assert rows == [("0/0", "f", 1_795_000_000_250_000_000, None), ("2/0", None, None, None)]
    assert log.lost == {BAD_PAYLOAD: 1}


def test_a_compile_under_compiled_autograd(read):
    log = read(MODEL, record("dynamo_start", {"stack": []}, **ids("0/1"), compiled_autograd_id=2))
    assert log.frame("compiles")["compile_id"].to_list() == ["!2/0/1"]


def test_the_rank_that_a_record_names(read):
    log = read(MODEL, record("dynamo_start", {"stack": []}, **ids("0/0"), rank=3))
    assert log.frame("compiles")["rank"].to_list() == [3]


def test_integers_that_no_column_holds(read):
    log = read(MODEL, metrics("0/0", 0, guard_count=1 << 70, graph_op_count=-(1 << 70)))
    assert log.frame("compiles").select("guard_count", "op_count").row(0) == (None, None)


def test_times_that_are_none(read):
    events = [json.dumps({"name": "x", "ph": "B", "ts": value}) for value in (1e300, -1e300)]
    log = read(MODEL, *(record("chromium_event", {}, each, **ids("0/0")) for each in events))
    assert log.frame("spans")["start_ns"].to_list() == [0, 0]


def test_a_log_whose_paths_were_rewritten_fits_no_checksum_and_is_whole(read):
    log = read(*(each.replace("model.py", "elsewhere.py") for each in (graph_break("0/0"), graph_break("1/0"))))
    assert (log.lost, log.frame("breaks").height) == ({}, 2)


def test_an_end_without_a_start(read):
    assert read(MODEL, span("dynamo", "E", 5.0, "0/0")).frame("spans").height == 0


def test_a_cut_gzip_file_gives_what_can_be_unpacked(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    whole = gzip.compress("".join([MODEL, *(start(f"{number}/0") for number in range(2000))]).encode())
    (folder / "a.log.gz").write_bytes(whole[: len(whole) // 2])
    log = open_compile_log(folder, tmp_path / "cache")
    assert 0 < log.frame("compiles").height < 2000
    assert any("gzip stream ends early" in why for why in log.lost)


def test_a_record_that_never_ends_is_bounded(monkeypatch):
    monkeypatch.setattr("profiler.tables.compile_log_records.MAX_RECORD", 1000)
    losses = Losses()
    chunks = [MODEL.encode(), start("1/0").encode(), *[b"\tx" * 100] * 50, b"\n", start("0/0").encode()]
    assert [each.kind for each in read_records(iter(chunks), losses)] == ["str", "dynamo_start"]
    assert losses.counts[TOO_LARGE] >= 1


@pytest.mark.parametrize("content", [b"no log\n", b"\x80\x04\x95" * 1000, b"\n\n\n", b"\t\t\n", b'{"traceEvents": []}', b""])
def test_a_file_that_is_no_log_is_refused(tmp_path, content):
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "strange.log").write_bytes(content)
    with pytest.raises(UnreadableInput, match=r"no structured compile log, but strange\.log") as caught:
        open_compile_log(folder, tmp_path / "cache")
    assert "TORCH_TRACE" in caught.value.hint
    assert not list((tmp_path / "cache").iterdir())


def test_a_file_that_is_no_log_beside_one_is_counted(tmp_path):
    folder = write(tmp_path / "log", MODEL, start("0/0"))
    (folder / "notes.txt").write_text("hello")
    (folder / "empty.log").write_text("")
    log = open_compile_log(folder, tmp_path / "cache")
    assert log.frame("compiles").height == 1
    assert log.lost[NO_LOG] == 2


@pytest.mark.parametrize("make", [False, True])
def test_no_folder_and_an_empty_one(tmp_path, make):
    if make:
        (tmp_path / "log").mkdir()
    with pytest.raises(UnreadableInput, match="empty" if make else "no folder"):
        open_compile_log(tmp_path / "log", tmp_path / "cache")


def test_chunks_may_cut_anywhere(tmp_path):
    text = "".join([MODEL, start("0/0"), fx_cache("miss", "fkey", "0/0"), graph_break("0/0"), metrics("0/0", 0)])
    path = tmp_path / "a.log"
    path.write_text(text)
    kinds = []
    for size in (1, 2, 3, 7, 64, 1 << 20):
        losses = Losses()
        kinds.append([(each.kind, each.payload) for each in read_records(read_chunks(path, losses, size), losses)])
        assert losses.counts == {}
    assert all(each == kinds[-1] for each in kinds)
    assert len(kinds[0]) == 5

"""Tables of tuned kernels: what they hold for, merging, refusals, and that a reader never sees half a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.core.errors import Refused, UnreadableInput, UsageError
from profiler.kernels import tuned
from profiler.kernels.candidate import Shape, parse_shape
from profiler.kernels.tuned import (
    Entry,
    Table,
    TableKey,
    find_entries,
    own_table,
    read_table,
    refuse_unwritable,
    save_merged,
    table_of,
)
from profiler.rundir import tuned_table

HERE = TableKey(device="NVIDIA H100 80GB HBM3", torch="2.11.0+cu130", triton="3.6.0")
ELSEWHERE = [
    TableKey(device="NVIDIA H200", torch="2.11.0+cu130", triton="3.6.0"),
    TableKey(device="NVIDIA H100 80GB HBM3", torch="2.13.0+cu130", triton="3.6.0"),
    TableKey(device="NVIDIA H100 80GB HBM3", torch="2.11.0+cu130", triton="3.7.0"),
    TableKey(device="NVIDIA H100 80GB HBM3", torch="2.11.0+cu130", triton="3.6.0", kernels=tuned.KERNEL_VERSION + 1),
]
BIG, SMALL = Shape(4608, 3072, 12288), Shape(512, 3072, 3072)


def entry(kernel: str, us: float = 10.0, measured_ns: int = 1, **more: object) -> Entry:
    return Entry(kernel=kernel, us=us, measured_ns=measured_ns, **more)  # type: ignore[arg-type]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "own" / "tuned.json"
    monkeypatch.setenv("DIFFUSCOPE_TUNED", str(path))
    monkeypatch.setattr(tuned_table, "_SHIPPED", tmp_path / "shipped")
    return path


def test_what_is_saved_is_read_back(own: Path):
    best = entry("hopper:a", 317.5, untuned_us=739.0, torchao={"config": {"block_m": 128}, "us": 330.0})
    save_merged(own, table_of(HERE, {BIG: best}))
    assert read_table(own).find(HERE) == {BIG: best}
    assert json.loads(own.read_text())["sections"][0]["entries"]["4608x3072x12288"]["kernel"] == "hopper:a"
    assert [path.name for path in own.parent.iterdir()] == ["tuned.json"], "nothing partial stays"


def test_tables_merge_and_the_later_measurement_is_kept(own: Path):
    save_merged(own, table_of(HERE, {BIG: entry("old", measured_ns=5), SMALL: entry("small", measured_ns=9)}))
    save_merged(own, table_of(HERE, {BIG: entry("new", measured_ns=6), SMALL: entry("smaller", measured_ns=8)}))
    save_merged(own, table_of(ELSEWHERE[0], {BIG: entry("other")}))
    table = read_table(own)
    assert {shape: each.kernel for shape, each in table.find(HERE).items()} == {BIG: "new", SMALL: "small"}
    assert table.find(ELSEWHERE[0])[BIG].kernel == "other"
    assert Table().merged(table) == table


@pytest.mark.parametrize("key", ELSEWHERE, ids=["device", "torch", "triton", "kernels"])
def test_a_table_from_elsewhere_is_refused_by_name_and_passed_over_by_auto(own: Path, key: TableKey):
    save_merged(own, table_of(key, {BIG: entry("k")}))
    assert find_entries("auto", HERE) == ({}, [])
    with pytest.raises(Refused, match="was tuned for NVIDIA H") as caught:
        find_entries(str(own), HERE)
    assert "this is NVIDIA H100 80GB HBM3, torch 2.11.0+cu130, triton 3.6.0" in caught.value.message
    assert caught.value.hint == "tune here with `diffuscope tune`"
    assert find_entries(str(own), key) == ({BIG: entry("k")}, [str(own)])


def test_auto_takes_what_was_shipped_and_what_the_user_tuned_before_it(own: Path, tmp_path: Path):
    assert find_entries("auto", HERE) == ({}, [])
    shipped = tmp_path / "shipped" / "h100.json"
    save_merged(shipped, table_of(HERE, {BIG: entry("shipped"), SMALL: entry("shipped")}))
    save_merged(own, table_of(HERE, {BIG: entry("own")}))
    found, files = find_entries("auto", HERE)
    assert {shape: each.kernel for shape, each in found.items()} == {BIG: "own", SMALL: "shipped"}
    assert files == [str(shipped), str(own)]
    assert find_entries("off", HERE) == ({}, [])


def test_every_shipped_table_can_be_read_and_is_of_these_kernels():
    for path in tuned.shipped_tables():
        for section in read_table(path).sections:
            assert section.key.kernels == tuned.KERNEL_VERSION
            assert section.entries


def test_only_a_table_that_record_does_not_read_by_itself_must_be_named(own: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuned_table, "shipped_tables", lambda: [Path("/anywhere/h100.json")])
    assert [tuned_table.tuned_option(each) for each in (str(own), "profiler/kernels/shipped/h100.json", "")] == ["", "", ""]
    assert tuned_table.tuned_option("my table.json") == " --tuned 'my table.json'"


def test_where_the_users_table_lies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DIFFUSCOPE_TUNED", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert own_table() == Path("/cache/diffuscope/tuned.json")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert own_table() == Path.home() / ".cache/diffuscope/tuned.json"


WHOLE = {"device": "d", "torch": "t"}
CORRUPT = {
    "not JSON": "{",
    "empty": "",
    "a list": "[]",
    "an object of something else": '{"schema": 1, "kind": "plan"}',
    "sections of another kind": '{"sections": 3}',
    "a key without a device": '{"sections": [{"key": {"torch": "t"}}]}',
    "a shape of no numbers": json.dumps({"sections": [{"key": WHOLE, "entries": {"axb": {"kernel": "k", "us": 1}}}]}),
    "an entry without a kernel": json.dumps({"sections": [{"key": WHOLE, "entries": {"1x2x3": {"us": 1}}}]}),
    "a time that is no number": json.dumps(
        {"sections": [{"key": WHOLE, "entries": {"1x2x3": {"kernel": "k", "us": float("nan")}}}]}
    ),
    "a time of nothing": json.dumps({"sections": [{"key": WHOLE, "entries": {"1x2x3": {"kernel": "k", "us": 0.0}}}]}),
    "nested too deeply": "[" * 100_000,
}


@pytest.mark.parametrize("name", CORRUPT)
def test_a_corrupt_table_is_one_error(own: Path, name: str):
    own.parent.mkdir()
    own.write_text(CORRUPT[name])
    for asked in (str(own), "auto"):
        with pytest.raises(UnreadableInput, match="is no table of tuned kernels: ") as caught:
            find_entries(asked, HERE)
        assert str(own) in caught.value.message
    with pytest.raises(UnreadableInput):
        save_merged(own, table_of(HERE, {BIG: entry("k")}))
    assert own.read_text() == CORRUPT[name], "what cannot be read is not overwritten"


def test_a_later_version_is_refused(own: Path):
    own.parent.mkdir()
    own.write_text('{"version": 2, "sections": []}')
    with pytest.raises(UnreadableInput, match="has version 2; this diffuscope reads up to 1"):
        find_entries("auto", HERE)


def test_no_file_and_no_place_to_write():
    with pytest.raises(UsageError, match="nothing/here is no file"):
        find_entries("nothing/here", HERE)
    with pytest.raises(UsageError, match="cannot write /proc/nothing"):
        save_merged(Path("/proc/nothing/t.json"), Table())
    with pytest.raises(UsageError, match="cannot write /proc/nothing/t") as caught:
        refuse_unwritable(Path("/proc/nothing/t.json"), "--table")
    assert caught.value.hint == "name another file with --table"


def test_where_a_table_can_be_written_nothing_is_left_of_the_trial(tmp_path: Path):
    refuse_unwritable(tmp_path / "made" / "t.json", "--table")
    assert list((tmp_path / "made").iterdir()) == []


def test_shapes_as_text():
    assert parse_shape("4608x3072x12288") == BIG
    assert parse_shape(str(BIG)) == BIG
    assert BIG.ops == 2 * 4608 * 3072 * 12288
    for wrong in ("4608x3072", "0x1x1", "1x2x3x4", "-1x2x3", "1.0x2x3", "", "1x2x9999999999"):
        with pytest.raises(UsageError, match="is no shape"):
            parse_shape(wrong)


def test_what_pays():
    assert entry("k", 9.0, untuned_us=10.0).pays
    assert not entry("k", 10.0, untuned_us=10.0).pays
    assert entry("k").pays, "what was not measured is believed"


def test_tunings_that_end_together_lose_nothing_of_each_other(own):
    """Each of three processes adds shapes of its own to one table, all at once."""
    code = """
import sys
from pathlib import Path
from profiler.kernels.candidate import parse_shape
from profiler.kernels.tuned import Entry, TableKey, save_merged, table_of
sys.stdin.readline()
for n in range(10):
    shape = parse_shape(f"{sys.argv[2]}x64x{n + 1}")
    save_merged(Path(sys.argv[1]), table_of(TableKey(device="d", torch="t"), {shape: Entry(kernel="k", us=1.0)}))
"""
    root = Path(__file__).resolve().parents[2]
    arguments = [sys.executable, "-c", code, str(own)]
    writers = [subprocess.Popen([*arguments, str(m)], stdin=subprocess.PIPE, cwd=root) for m in range(1, 4)]
    for each in writers:
        each.stdin.close()
    assert [each.wait(60) for each in writers] == [0, 0, 0]
    assert len(read_table(own).find(TableKey(device="d", torch="t"))) == 30

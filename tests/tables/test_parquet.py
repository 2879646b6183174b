"""The small Parquet writer, read back by polars."""

from __future__ import annotations

from array import array

import polars as pl
import pytest

from profiler.tables import parquet, thrift
from profiler.tables.parquet import FLAG, INT16, INT32, INT64, TEXTS, UINT32, UINT64, ParquetWriter

_CODES = {INT16: "i", INT32: "i", INT64: "q", UINT32: "I", UINT64: "Q"}
_DTYPES = {INT16: pl.Int16, INT32: pl.Int32, INT64: pl.Int64, UINT32: pl.UInt32, UINT64: pl.UInt64}


@pytest.fixture
def written(tmp_path):
    """Write row groups of one column and read them back."""

    def make(kind, *chunks, optional=False):
        path = tmp_path / "t.parquet"
        with ParquetWriter(path, {"x": (kind, optional)}) as writer:
            for each in chunks:
                writer.add({"x": each})
        return pl.read_parquet(path)["x"]

    return make


@pytest.mark.parametrize("kind", _CODES)
def test_numbers_up_to_their_limits(written, kind):
    dtype = _DTYPES[kind]
    values = [pl.select(dtype.min()).item(), 0, 1, pl.select(dtype.max()).item()]
    found = written(kind, parquet.plain(array(_CODES[kind], values)), parquet.plain(array(_CODES[kind], [7])))
    assert (found.dtype, found.to_list()) == (dtype, [*values, 7])


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 300, 70_000])
def test_one_number_again_and_again(written, rows):
    assert written(INT64, parquet.constant(INT64, -5, rows)).to_list() == [-5] * rows


@pytest.mark.parametrize(
    "present", [[True], [False], [False, True], [True, False, False, True, True, True], [False] * 1000 + [True] * 9]
)
def test_nulls(written, present):
    runs = [(each, 1) for each in present]
    values = array("Q", range(sum(present)))
    numbers = iter(range(len(present)))
    assert written(UINT64, parquet.plain(values, runs), optional=True).to_list() == [
        next(numbers) if each else None for each in present
    ]


def test_an_optional_column_may_have_no_null(written):
    assert written(INT32, parquet.plain(array("i", [1, 2])), optional=True).to_list() == [1, 2]


@pytest.mark.parametrize("rows", [1, 8, 9, 1001])
def test_flags(written, rows):
    values = [number % 3 == 0 for number in range(rows)]
    found = written(FLAG, parquet.flags(values))
    assert (found.dtype, found.to_list()) == (pl.Boolean, values)


@pytest.mark.parametrize("code", ["B", "I"])
@pytest.mark.parametrize("rows", [1, 8, 9, 1001])
def test_texts(written, code, rows):
    distinct = ["", "a", "\u00e9\u4e16", "x" * 5000]
    numbers = [number % 4 for number in range(rows)]
    found = written(TEXTS, parquet.words(distinct, array(code, numbers), rows))
    assert (found.dtype, found.to_list()) == (pl.String, [distinct[each] for each in numbers])


def test_more_texts_than_a_byte_counts(written):
    distinct = [f"module.{number}" for number in range(70_000)]
    found = written(TEXTS, parquet.words(distinct, array("I", range(70_000)), 70_000))
    assert found.to_list() == distinct


def test_one_text_again_and_again(written):
    assert (
        written(TEXTS, parquet.words(["only"], None, 100), parquet.words(["other"], None, 2)).to_list()
        == ["only"] * 100 + ["other"] * 2
    )


def test_many_columns_and_groups(tmp_path):
    """More than 14 of either: their lists have a longer header."""
    columns = {f"c{number}": (INT32, False) for number in range(40)}
    with ParquetWriter(tmp_path / "t.parquet", columns) as writer:
        for group in range(20):
            writer.add({name: parquet.plain(array("i", [group, number])) for number, name in enumerate(columns)})
    assert writer.rows == 40
    found = pl.read_parquet(tmp_path / "t.parquet")
    assert found.shape == (40, 40)
    assert found["c39"].to_list() == [each for group in range(20) for each in (group, 39)]


def test_a_failure_leaves_a_file_that_nobody_takes_for_whole(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(ZeroDivisionError), ParquetWriter(path, {"x": (INT32, False)}) as writer:
        writer.add({"x": parquet.constant(INT32, 1, 1)})
        raise ZeroDivisionError
    with pytest.raises(pl.exceptions.PolarsError):
        pl.read_parquet(path)


def test_numbers_of_thrift():
    assert [thrift.varint(each) for each in (0, 127, 128, 300)] == [b"\x00", b"\x7f", b"\x80\x01", b"\xac\x02"]
    assert thrift.integer(75) == b"\x96\x01"
    assert thrift.text("\u00e9") == b"\x02\xc3\xa9"
    assert thrift.struct(thrift.Field(1, thrift.I32, b"\x02"), thrift.Field(4, thrift.I64, b"\x04")) == b"\x15\x02\x36\x04\x00"
    assert thrift.listed(thrift.I32, [b"\x02"] * 15)[:2] == b"\xf5\x0f"

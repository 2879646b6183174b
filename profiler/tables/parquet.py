"""Writing Parquet with the standard library alone: typed columns, plain or by a dictionary, uncompressed.

For a process that must start fast and stay small: importing a whole data frame library takes it longer than writing its tables.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from profiler.tables import thrift
from profiler.tables.thrift import LIST, STRUCT, TEXT, Field, integer, listed, struct, text, varint

_MAGIC = b"PAR1"
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_PLAIN, _RLE, _BY_DICTIONARY = 0, 3, 8
_REQUIRED, _OPTIONAL = 0, 1


Runs = list[tuple[bool, int]]


@dataclass(frozen=True)
class Kind:
    """What a column holds: Parquet's physical and converted type, and the code of `array` whose bytes it stores."""

    physical: int
    converted: int | None
    code: str = ""


INT16, INT32, INT64 = Kind(1, 16, "i"), Kind(1, 17, "i"), Kind(2, 18, "q")
UINT32, UINT64 = Kind(1, 13, "I"), Kind(2, 14, "Q")
FLAG, TEXTS = Kind(0, None), Kind(6, 0)


@dataclass(frozen=True)
class Chunk:
    """The rows of one column in one row group.

    Args:
        data: values as Parquet stores them, without the nulls.
        rows: with the nulls.
        present: runs of rows that are no nulls (True) or are (False), with their lengths; None where none is.
        distinct: how many values `dictionary` holds; `data` are then their numbers.
        dictionary: the distinct values as Parquet stores them.
    """

    data: bytes
    rows: int
    present: Runs | None = None
    distinct: int = 0
    dictionary: bytes = b""


def plain(values: array[Any], present: Runs | None = None) -> Chunk:
    """A column of numbers; the runs of True in `present`, where given, are together as long as there are values."""
    return Chunk(values.tobytes(), len(values) if present is None else sum(length for _, length in present), present)


def flags(values: Sequence[bool]) -> Chunk:
    """A column of True and False: a bit each."""
    bits = int("".join("1" if value else "0" for value in reversed(values)), 2)
    return Chunk(bits.to_bytes(-(-len(values) // 8), "little"), len(values))


def constant(kind: Kind, value: int, rows: int) -> Chunk:
    """A column of one number again and again."""
    return Chunk(_repeated(0, rows), rows, None, 1, array(kind.code, [value]).tobytes())


def words(distinct: Iterable[str], numbers: array[int] | None, rows: int) -> Chunk:
    """A column of texts: the number of each among the distinct ones, as array of "B" or "I"; None where all are the first."""
    encoded = [each.encode() for each in distinct]
    dictionary = b"".join(len(each).to_bytes(4, "little") + each for each in encoded)
    return Chunk(_repeated(0, rows) if numbers is None else _packed(numbers), rows, None, len(encoded), dictionary)


def _repeated(number: int, rows: int) -> bytes:
    """Numbers of a dictionary: width, and one run."""
    return b"\x08" + varint(rows << 1) + bytes([number])


def _packed(numbers: array[int]) -> bytes:
    """Numbers of a dictionary: width, and one run of groups of eight, of whole bytes each."""
    groups = -(-len(numbers) // 8)
    padding = bytes(numbers.itemsize * (groups * 8 - len(numbers)))
    return bytes([8 * numbers.itemsize]) + varint(groups << 1 | 1) + numbers.tobytes() + padding


class ParquetWriter:
    """One file, a row group at a time; whole once it is closed.

    Args:
        columns: name -> (kind, whether it may hold nulls).
    """

    def __init__(self, path: Path, columns: Mapping[str, tuple[Kind, bool]]) -> None:
        self.rows = 0
        self._columns = columns
        self._file = path.open("wb")
        self._file.write(_MAGIC)
        self._groups: list[bytes] = []

    def add(self, chunks: Mapping[str, Chunk]) -> None:
        """Append one row group: a chunk for every column, of the same number of rows, at least one."""
        begin = self._file.tell()
        rows = next(iter(chunks.values())).rows
        entries = [self._chunk(name, chunks[name]) for name in self._columns]
        size = self._file.tell() - begin
        self._groups.append(struct(Field(1, LIST, listed(STRUCT, entries)), _i64(2, size), _i64(3, rows)))
        self.rows += rows

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._file as file:
            if error is None:
                footer = self._footer()
                file.write(footer + len(footer).to_bytes(4, "little") + _MAGIC)

    def _chunk(self, name: str, chunk: Chunk) -> bytes:
        """Write one column's pages; its entry for the footer."""
        kind, optional = self._columns[name]
        begin = self._file.tell()
        if chunk.distinct:
            self._page(_DICTIONARY_PAGE, chunk.dictionary, Field(7, STRUCT, struct(_i32(1, chunk.distinct), _i32(2, _PLAIN))))
        encoding = _BY_DICTIONARY if chunk.distinct else _PLAIN
        data = self._file.tell()
        header = struct(_i32(1, chunk.rows), _i32(2, encoding), _i32(3, _RLE), _i32(4, _RLE))
        self._page(_DATA_PAGE, (_levels(chunk) if optional else b"") + chunk.data, Field(5, STRUCT, header))
        size = self._file.tell() - begin
        offsets = [_i64(9, data), *([_i64(11, begin)] if chunk.distinct else [])]
        encodings = listed(thrift.I32, [integer(each) for each in (_PLAIN, _RLE, _BY_DICTIONARY)])
        described = struct(
            _i32(1, kind.physical),
            Field(2, LIST, encodings),
            Field(3, LIST, listed(TEXT, [text(name)])),
            _i32(4, 0),
            _i64(5, chunk.rows),
            _i64(6, size),
            _i64(7, size),
            *offsets,
        )
        return struct(_i64(2, begin), Field(3, STRUCT, described))

    def _page(self, kind: int, data: bytes, header: Field) -> None:
        self._file.write(struct(_i32(1, kind), _i32(2, len(data)), _i32(3, len(data)), header))
        self._file.write(data)

    def _footer(self) -> bytes:
        root = struct(Field(4, TEXT, text("schema")), _i32(5, len(self._columns)))
        schema = [root, *(_element(name, kind, optional) for name, (kind, optional) in self._columns.items())]
        return struct(
            _i32(1, 1), Field(2, LIST, listed(STRUCT, schema)), _i64(3, self.rows), Field(4, LIST, listed(STRUCT, self._groups))
        )


def _levels(chunk: Chunk) -> bytes:
    """Which rows are no nulls, as runs."""
    runs = [(True, chunk.rows)] if chunk.present is None else chunk.present
    levels = b"".join(varint(length << 1) + bytes([present]) for present, length in runs)
    return len(levels).to_bytes(4, "little") + levels


def _element(name: str, kind: Kind, optional: bool) -> bytes:
    converted = [] if kind.converted is None else [_i32(6, kind.converted)]
    return struct(_i32(1, kind.physical), _i32(3, _OPTIONAL if optional else _REQUIRED), Field(4, TEXT, text(name)), *converted)


def _i32(number: int, value: int) -> Field:
    return Field(number, thrift.I32, integer(value))


def _i64(number: int, value: int) -> Field:
    return Field(number, thrift.I64, integer(value))

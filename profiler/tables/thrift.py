"""As much of Thrift's compact protocol as Parquet's headers need: structs of integers, texts, lists and structs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

I32, I64, TEXT, LIST, STRUCT = 5, 6, 8, 9, 12


class Field(NamedTuple):
    """One field of a struct: its number, its type, its value as bytes."""

    number: int
    type: int
    value: bytes


def varint(value: int) -> bytes:
    """A number >= 0, seven bits a byte, the lowest first."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def integer(value: int) -> bytes:
    """A number >= 0 of type I32 or I64."""
    return varint(value << 1)


def text(value: str) -> bytes:
    """A text with its length."""
    encoded = value.encode()
    return varint(len(encoded)) + encoded


def listed(kind: int, values: Sequence[bytes]) -> bytes:
    """A list of values of one type."""
    short = len(values) < 15
    return (bytes([len(values) << 4 | kind]) if short else bytes([0xF0 | kind]) + varint(len(values))) + b"".join(values)


def struct(*fields: Field) -> bytes:
    """Fields in ascending order of their numbers, at most 15 apart."""
    found, before = bytearray(), 0
    for each in fields:
        found.append(each.number - before << 4 | each.type)
        found += each.value
        before = each.number
    return bytes(found) + b"\0"

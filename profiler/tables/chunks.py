"""A trace file as decompressed bytes, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from isal import isal_zlib

from profiler.core.errors import UnreadableInput
from profiler.tables.losses import Losses

_READ_BYTES = 1 << 18
_OUT_BYTES = 1 << 22
_GZIP_MAGIC = b"\x1f\x8b"
# zlib's window size for "a gzip header follows".
_GZIP_WBITS = 31
_DAMAGED: Any = isal_zlib.error


def read_chunks(path: Path, losses: Losses) -> Iterator[bytes]:
    """The bytes of a plain or gzipped file.

    A gzip stream that is cut or damaged yields what can be unpacked; the damage is counted in `losses`.

    Raises:
        UnreadableInput: no file, a directory, an empty file, no permission, or gzipped twice.
    """
    chunks = _raw_chunks(path, losses)
    first = next(chunks, b"")
    if first.startswith(_GZIP_MAGIC):
        raise UnreadableInput(f"{path} is gzipped twice", "unpack it once: gunzip -c FILE > once.json.gz")
    if not first:
        raise UnreadableInput(f"{path} is empty", "the recording wrote nothing; record or copy it again")
    yield first
    yield from chunks


def _raw_chunks(path: Path, losses: Losses) -> Iterator[bytes]:
    if path.is_dir():
        raise UnreadableInput(f"{path} is a directory, not a file", "name the file inside it")
    try:
        with path.open("rb") as file:
            magic = file.read(2)
            file.seek(0)
            yield from _gunzip(file, losses) if magic == _GZIP_MAGIC else iter(lambda: file.read(_OUT_BYTES), b"")
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror or error}", "check the path and its permissions") from None


def _gunzip(file: BinaryIO, losses: Losses) -> Iterator[bytes]:
    """Every member of a gzip file; at most 4 MiB at a time, so that a small file cannot ask for all memory."""
    packed = file.read(_READ_BYTES)
    while packed:
        member = isal_zlib.decompressobj(wbits=_GZIP_WBITS)
        try:
            while not member.eof:
                if not packed and not (packed := file.read(_READ_BYTES)):
                    losses.cut("the gzip stream ends early (truncated file)")
                    return
                data = member.decompress(packed, _OUT_BYTES)
                packed = member.unconsumed_tail
                if data:
                    yield data
        except _DAMAGED as error:
            losses.cut(f"the gzip stream is damaged ({error})")
            return
        # Zero bytes after a member are padding; anything else begins the next member.
        packed = member.unused_data.lstrip(b"\0") or file.read(_READ_BYTES).lstrip(b"\0")

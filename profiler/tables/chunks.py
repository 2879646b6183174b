"""A trace file as decompressed bytes, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from isal import isal_zlib

from profiler.core.errors import UnreadableInput
from profiler.tables.losses import Losses

CHUNK_BYTES = 1 << 19
_READ_BYTES = 1 << 15
_GZIP_MAGIC = b"\x1f\x8b"
# zlib's window size for "a gzip header follows".
_GZIP_WBITS = 31
_DAMAGED: Any = isal_zlib.error


def read_chunks(path: Path, losses: Losses, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The bytes of a plain or gzipped file, at most `chunk_bytes` at a time.

    A gzip stream that is cut or damaged yields what can be unpacked; the damage is counted in `losses`.

    Raises:
        UnreadableInput: no file, a directory, an empty file, no permission, gzipped twice, or nothing that can be unpacked.
    """
    chunks = _raw_chunks(path, losses, chunk_bytes)
    first = next(chunks, b"")
    if first.startswith(_GZIP_MAGIC):
        raise UnreadableInput(f"{path} is gzipped twice", "unpack it once: gunzip -c FILE > once.json.gz")
    if not first and losses.total:
        raise UnreadableInput(f"{path} cannot be unpacked: {'; '.join(losses.counts)}", "copy or record it again")
    if not first:
        raise UnreadableInput(f"{path} is empty", "the recording wrote nothing; record or copy it again")
    yield first
    yield from chunks


def refuse_endless(path: Path) -> None:
    """Raise UnreadableInput for a pipe or a device: reading one may never end, and inputs are read more than once."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UnreadableInput(f"{path} is a pipe or a device, not a file", "write it to a file first")


def _raw_chunks(path: Path, losses: Losses, chunk_bytes: int) -> Iterator[bytes]:
    if path.is_dir():
        raise UnreadableInput(f"{path} is a directory, not a file", "name the file inside it")
    refuse_endless(path)
    try:
        with path.open("rb") as file:
            magic = file.read(2)
            file.seek(0)
            yield from _gunzip(file, losses, chunk_bytes) if magic == _GZIP_MAGIC else iter(lambda: file.read(chunk_bytes), b"")
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror or error}", "check the path and its permissions") from None


def _gunzip(file: BinaryIO, losses: Losses, chunk_bytes: int) -> Iterator[bytes]:
    """Every member of a gzip file. Chunks are bounded: a small file cannot ask for all memory, and damage costs one chunk."""
    packed = file.read(_READ_BYTES)
    while packed:
        member = isal_zlib.decompressobj(wbits=_GZIP_WBITS)
        try:
            while not member.eof:
                if not packed and not (packed := file.read(_READ_BYTES)):
                    losses.cut("the gzip stream ends early (truncated file)")
                    return
                data = member.decompress(packed, chunk_bytes)
                packed = member.unconsumed_tail
                if data:
                    yield data
        except _DAMAGED as error:
            losses.cut(f"the gzip stream is damaged ({error})")
            return
        # Zero bytes after a member are padding; anything else begins the next member.
        packed = member.unused_data.lstrip(b"\0") or file.read(_READ_BYTES).lstrip(b"\0")

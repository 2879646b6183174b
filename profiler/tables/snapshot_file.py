"""A snapshot's file, plain or gzipped, before anything in it is unpickled."""

from __future__ import annotations

import io
from itertools import chain
from pathlib import Path
from typing import IO, Any

from isal import igzip

from profiler.core.errors import UnreadableInput
from profiler.tables.chunks import read_chunks
from profiler.tables.losses import Losses

_PICKLE_PROTOCOLS = range(2, 6)
_STOP = b"."
_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER_BYTES = 1 << 18
# Real snapshots shrink 10 to 50 times.
_MOST_RATIO = 200
_SMALL_BYTES = 1 << 28


def check_file(path: Path) -> int:
    """Look at the first and last bytes of a pickle without unpickling it; returns its unpacked bytes.

    Raises:
        UnreadableInput: no pickle, a truncated one, or one that unpacks to far more than a snapshot does.
    """
    losses = Losses()
    first, last, size = _ends(path, losses)
    if first[:1] != b"\x80" or first[1] not in _PICKLE_PROTOCOLS:
        raise UnreadableInput(f"{path} is no pickle", "give the file that torch.cuda.memory._dump_snapshot writes")
    if losses.total or last != _STOP:
        raise UnreadableInput(f"{path} is truncated: a pickle that is cut cannot be read", "copy or record the snapshot again")
    return size


def unpacked(file: IO[bytes]) -> IO[bytes]:
    """The file's bytes, unpacked while they are read."""
    magic = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    if magic != _GZIP_MAGIC:
        return file
    packed: Any = igzip.IGzipFile(fileobj=file)
    return io.BufferedReader(packed, _BUFFER_BYTES)


def _ends(path: Path, losses: Losses) -> tuple[bytes, bytes, int]:
    """The first two bytes, the last one, and how many there are, all unpacked."""
    chunks = read_chunks(path, losses)
    first = next(chunks)
    size = path.stat().st_size
    if not _is_packed(path):
        with path.open("rb") as file:
            file.seek(-1, io.SEEK_END)
            return first[:2].ljust(2, b"\0"), file.read(1), size
    most, unpacked_bytes = max(_SMALL_BYTES, _MOST_RATIO * size), 0
    chunk = first
    for chunk in chain([first], chunks):
        unpacked_bytes += len(chunk)
        if unpacked_bytes > most:
            raise UnreadableInput(f"{path} unpacks to more than {_MOST_RATIO} times its size", "do not trust this file")
    return first[:2].ljust(2, b"\0"), chunk[-1:], unpacked_bytes


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC

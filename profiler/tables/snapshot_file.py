"""A snapshot's file, plain or gzipped, before anything in it is unpickled."""

from __future__ import annotations

import io
from collections.abc import Iterator
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
    first, last, size = _ends(path, read_chunks(path, losses))
    if first[:1] != b"\x80" or first[1] not in _PICKLE_PROTOCOLS:
        raise UnreadableInput(f"{path} is no pickle", "give the file that torch.cuda.memory._dump_snapshot writes")
    if losses.total or last != _STOP:
        raise UnreadableInput(f"{path} is truncated: a pickle that is cut cannot be read", "copy or record the snapshot again")
    return size


def unpacked(file: IO[bytes]) -> IO[bytes]:
    """The file's bytes, unpacked while they are read."""
    magic = file.read(2)
    file.seek(0)
    if magic != _GZIP_MAGIC:
        return file
    packed: Any = igzip.IGzipFile(fileobj=file)
    return io.BufferedReader(packed, _BUFFER_BYTES)


def _ends(path: Path, chunks: Iterator[bytes]) -> tuple[bytes, bytes, int]:
    """The first two bytes, the last one, and how many there are."""
    first = last = b""
    size = 0
    most = max(_SMALL_BYTES, _MOST_RATIO * path.stat().st_size) if path.exists() else 0
    for chunk in chunks:
        first = first if len(first) >= 2 else first + chunk[:2]
        last = chunk[-1:]
        size += len(chunk)
        if size > most:
            raise UnreadableInput(f"{path} unpacks to more than {_MOST_RATIO} times its size", "do not trust this file")
    return first.ljust(2, b"\0"), last, size

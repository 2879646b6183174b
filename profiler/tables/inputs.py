"""Whether a file is what it claims to be, without reading all of it or running anything in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from profiler.core.errors import UnreadableInput
from profiler.tables.chunks import read_chunks
from profiler.tables.losses import Losses
from profiler.tables.stream import EventStream

_LOG_LINE = re.compile(rb"^[VDIWEF]\d{4} \d{2}:\d{2}:\d{2}\.\d+ \d+ \S+:\d+\] \{")
_PICKLE_PROTOCOLS = range(2, 6)
_STOP = b"."


def check_trace(path: Path) -> None:
    """Read as far as the first events.

    Raises:
        UnreadableInput: no Kineto trace, or one cut before its first event.
    """
    losses = Losses()
    first = next(iter(EventStream(path, read_chunks(path, losses), losses)), [])
    if not first and losses.total:
        why = "; ".join(losses.counts)
        raise UnreadableInput(f"{path} holds no event that can be read ({why})", "copy or record the trace again")


def check_snapshot(path: Path) -> int:
    """Look at the first and last bytes of a pickle, gzipped or not, without unpickling it; returns its unpacked bytes.

    Raises:
        UnreadableInput: no pickle, or a truncated one.
    """
    losses = Losses()
    first, last, size = _ends(read_chunks(path, losses))
    if first[:1] != b"\x80" or first[1] not in _PICKLE_PROTOCOLS:
        raise UnreadableInput(f"{path} is no pickle", "give the file that torch.cuda.memory._dump_snapshot writes")
    if losses.total or last != _STOP:
        raise UnreadableInput(f"{path} is truncated: a pickle that is cut cannot be read", "copy or record the snapshot again")
    return size


def check_compile_log(path: Path, head: bytes) -> None:
    """Whether `head`, the first bytes of a file, begins a structured log of TORCH_TRACE.

    Raises:
        UnreadableInput: it does not.
    """
    if not _LOG_LINE.match(head):
        raise UnreadableInput(
            f"{path} is no structured compile log", "give what TORCH_TRACE=DIR wrote: a .log file, DIR, or a .tgz of it"
        )


def _ends(chunks: Iterator[bytes]) -> tuple[bytes, bytes, int]:
    """The first two bytes, the last one, and how many there are."""
    first = last = b""
    size = 0
    for chunk in chunks:
        first = first if len(first) >= 2 else first + chunk[:2]
        last = chunk[-1:]
        size += len(chunk)
    return first.ljust(2, b"\0"), last, size

"""Whether a file is what it claims to be, without reading all of it or running anything in it."""

from __future__ import annotations

import re
from pathlib import Path

from profiler.core.errors import UnreadableInput
from profiler.tables.chunks import read_chunks
from profiler.tables.losses import Losses
from profiler.tables.stream import EventStream

_LOG_LINE = re.compile(rb"^[VDIWEF]\d{4} \d{2}:\d{2}:\d{2}\.\d+ \d+ \S+:\d+\] \{")


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


def check_compile_log(path: Path, head: bytes) -> None:
    """Whether `head`, the first bytes of a file, begins a structured log of TORCH_TRACE.

    Raises:
        UnreadableInput: it does not.
    """
    if not _LOG_LINE.match(head):
        raise UnreadableInput(
            f"{path} is no structured compile log", "give what TORCH_TRACE=DIR wrote: a .log file, DIR, or a .tgz or .zip of it"
        )

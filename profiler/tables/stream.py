"""Kineto JSON as a stream of event batches, in constant memory.

The bytes are cut where one event ends and the next begins, and some megabytes of whole events are decoded at once by a typed
decoder. A cut in the wrong place cannot go unseen: the batch is then no valid JSON. Whatever the fast way cannot take, the last
events with the end of the array among them, goes through Python's own JSON parser, event by event.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from profiler.core.errors import UnreadableInput
from profiler.tables import events
from profiler.tables.events import Event
from profiler.tables.losses import Losses

PIECE_BYTES = 1 << 23
# No event is larger: a failing one is malformed if this much follows its beginning.
_MAX_EVENT = 1 << 22
_MAX_METADATA = 1 << 26
_CUT_TRIES = 16
_HEAD = re.compile(rb'"traceEvents"\s*:\s*\[')
_BOUNDARY = re.compile(r"\}\s*,\s*\{")
_BETWEEN = re.compile(r"[\s,]*")
_NOT_A_TRACE = "give the Chrome trace JSON that torch.profiler writes with export_chrome_trace"
_BOM = b"\xef\xbb\xbf"


class EventStream:
    """Iterate once to get every event, in file order, as lists.

    Args:
        path: names the file in messages.
        chunks: its decompressed bytes.
        losses: where events that cannot be read are counted.

    Raises (while iterating):
        UnreadableInput: not JSON, or JSON of another shape.
    """

    def __init__(self, path: Path, chunks: Iterator[bytes], losses: Losses, piece_bytes: int = PIECE_BYTES) -> None:
        self.metadata: dict[str, Any] = {}
        self._path = path
        self._chunks = chunks
        self._losses = losses
        self._piece_bytes = piece_bytes
        self._buffer = b""
        self._eof = False
        self._bare_list = False

    def __iter__(self) -> Iterator[list[Event]]:
        self._read_head()
        closed = False
        wanted = self._piece_bytes
        while not closed:
            self._fill(wanted)
            batch = self._decode_fast()
            if batch is None:
                batch, closed = self._scan()
            # Half an event in the buffer: one longer than a piece wants more. What was skipped wants nothing.
            wanted = self._piece_bytes if batch or not self._buffer else 2 * max(self._piece_bytes, len(self._buffer))
            if batch:
                yield batch
            if self._eof and not self._buffer:
                break
        self._read_tail(closed)

    def _fill(self, size: int) -> None:
        parts = [self._buffer]
        have = len(self._buffer)
        while have < size and not self._eof:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._eof = True
            else:
                parts.append(chunk)
                have += len(chunk)
        self._buffer = b"".join(parts)

    def _decode_fast(self) -> list[Event] | None:
        """The whole events of the buffer, or None where it holds anything but well-formed events."""
        cut = _last_boundary(self._buffer)
        if cut is None:
            return None
        try:
            batch = events.many.decode(b"[" + self._buffer[: cut[0]] + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        self._buffer = self._buffer[cut[1] :]
        return batch

    def _scan(self) -> tuple[list[Event], bool]:
        """Event by event with the standard parser; True once the array is closed. The unread rest stays in the buffer."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(self._buffer, final=self._eof)
        batch, position, closed = self._scan_text(text)
        self._buffer = text[position:].encode() + decoder.getstate()[0]
        return batch, closed

    def _scan_text(self, text: str) -> tuple[list[Event], int, bool]:
        batch: list[Event] = []
        position = 0
        parser = json.JSONDecoder()
        while True:
            position = _skip(text, position)
            if position >= len(text):
                return batch, position, False
            if text[position] == "]":
                return batch, position + 1, True
            try:
                parsed, end = parser.raw_decode(text, position)
            except (ValueError, RecursionError):
                if not self._eof and len(text) - position < _MAX_EVENT:
                    return batch, position, False
                position = self._skip_malformed(text, position)
                continue
            event = events.decode_one(text[position:end], parsed, self._losses)
            if event is not None:
                batch.append(event)
            position = end

    def _skip_malformed(self, text: str, position: int) -> int:
        following = _BOUNDARY.search(text, position + 1)
        if following is not None:
            self._losses.add("malformed JSON inside the event")
            return following.end() - 1
        if self._eof:
            self._losses.cut("the file ends inside an event (truncated file)")
        else:
            self._losses.add("malformed JSON inside the event")
        return len(text)

    def _read_head(self) -> None:
        """Everything up to the array of events; metadata before it is kept."""
        wanted = self._piece_bytes
        while True:
            self._fill(wanted)
            self._buffer = self._buffer.removeprefix(_BOM)
            if self._start_of_events():
                return
            if self._eof or len(self._buffer) > _MAX_METADATA:
                raise self._no_events()
            wanted = 2 * len(self._buffer) + self._piece_bytes

    def _start_of_events(self) -> bool:
        start = self._buffer.lstrip()
        if start.startswith(b"["):
            self._bare_list = True
            self._buffer = start[1:]
            return True
        for found in _HEAD.finditer(self._buffer):
            try:
                head = json.loads(self._buffer[: found.start()] + b'"traceEvents":[]}')
            except (ValueError, RecursionError):
                continue
            head.pop("traceEvents")
            self.metadata.update(head)
            self._buffer = self._buffer[found.end() :]
            return True
        return False

    def _no_events(self) -> UnreadableInput:
        try:
            shape = type(json.loads(self._buffer.decode("utf-8"))).__name__
        except (ValueError, RecursionError) as error:
            cut = self._losses.total or self._buffer.lstrip().startswith(b"{")
            what = "ends before its first event, or is no JSON" if cut else "is not JSON"
            return UnreadableInput(f"{self._path} {what} ({str(error)[:80]})", _NOT_A_TRACE)
        return UnreadableInput(f"{self._path} is JSON ({shape}) without a list `traceEvents`: not a Kineto trace", _NOT_A_TRACE)

    def _read_tail(self, closed: bool) -> None:
        """Metadata after the array of events."""
        if not closed:
            self._losses.cut("the list of events is not closed (truncated file)")
            return
        self._fill(_MAX_METADATA)
        tail = self._buffer.decode("utf-8", "replace").strip()
        if self._bare_list and not tail:
            return
        try:
            after = json.loads("{" + tail.lstrip(", \t\r\n"))
        except (ValueError, RecursionError):
            self._losses.cut("the metadata after the events is cut or damaged")
            return
        more = after.pop("traceEvents", None)
        self._losses.add("a second list `traceEvents`", len(more) if isinstance(more, list) else 0)
        self.metadata.update(after)


def _skip(text: str, position: int) -> int:
    found = _BETWEEN.match(text, position)
    return found.end() if found else position


def _last_boundary(buffer: bytes) -> tuple[int, int] | None:
    """Where the last `}, {` lies: the end of one event and the start of the next. May lie inside an event; decoding tells."""
    position = len(buffer)
    for _ in range(_CUT_TRIES):
        position = buffer.rfind(b"{", 0, position)
        if position <= 0:
            return None
        before = buffer[max(0, position - 64) : position].rstrip()
        if before.endswith(b",") and before[:-1].rstrip().endswith(b"}"):
            window = min(64, position)
            return position - window + len(before) - 1, position
    return None

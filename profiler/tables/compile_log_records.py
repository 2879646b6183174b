"""A structured compile log (what TORCH_TRACE writes) as a stream of records.

A record is a header line, `V1122 13:45:39.030000 407 file.py:12] {json}`, and payload lines that each begin with a tab.
Headers are decoded by type, payloads only when asked for. What cannot be read is counted by reason: a log of a killed process
ends anywhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from profiler.tables.losses import Losses

# No record is larger: the fattest real one, a graph with its cache key's components, has some 10 MB.
MAX_RECORD = 1 << 26
_HEADER = re.compile(rb"[A-Z]\d{4} \d\d:\d\d:\d\d\.\d+ \d+ .*?:\d+\] (?=\{)")
_NEXT_RECORD = re.compile(rb"\n(?=[^\t])")
_MD5 = re.compile(r"[0-9a-f]{32}")
_ABSENT = Raw(b"")
# Payloads up to this size tell whether a log was edited.
_CHECKED_BYTES = 1 << 16

HALF = "half a record at the end (the process was killed, or the file was cut)"
NO_RECORD = "lines that are no record"
BAD_HEADER = "records whose header is damaged"
BAD_PAYLOAD = "records whose payload is cut or damaged"
TOO_LARGE = f"records larger than {MAX_RECORD >> 20} MiB"


class Artifact(Struct, gc=False):
    """The metadata of an `artifact` record."""

    name: str = ""


class Header(Struct, gc=False):
    """What a header says, as far as any table needs it; torch names the record's kind by the key it has."""

    frame_id: int | None = None
    frame_compile_id: int | None = None
    compiled_autograd_id: int | None = None
    attempt: int | None = None
    rank: int | None = None
    has_payload: str | bool | None = None
    artifact: Artifact | None = None
    string: tuple[str, int] | None = field(default=None, name="str")
    dynamo_start: Raw = _ABSENT
    compilation_metrics: Raw = _ABSENT
    bwd_compilation_metrics: Raw = _ABSENT
    compilation_metrics_runtime: Raw = _ABSENT
    chromium_event: Raw = _ABSENT
    dynamo_output_graph: Raw = _ABSENT
    dynamo_cpp_guards_str: Raw = _ABSENT

    @property
    def compile_id(self) -> str | None:
        """`frame/compile`, as torch writes it in a trace; `!autograd` or `!autograd/frame/compile` under compiled autograd."""
        ids = None if self.frame_id is None else f"{self.frame_id}/{self.frame_compile_id or 0}"
        if self.compiled_autograd_id is None:
            return ids
        return f"!{self.compiled_autograd_id}" + (f"/{ids}" if ids else "")


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its kind (for an artifact, the artifact's name), its header, and its payload as it stands in the file."""

    kind: str
    header: Header
    raw_payload: bytes

    @property
    def payload(self) -> bytes:
        """The payload as it was before the log indented it."""
        return self.raw_payload.removeprefix(b"\t").removesuffix(b"\n").replace(b"\n\t", b"\n")

    @property
    def is_whole(self) -> bool:
        """Whether the payload is the one that the header's checksum was made of; true where there is no checksum."""
        checksum = self.header.has_payload
        if not isinstance(checksum, str) or not _MD5.fullmatch(checksum):
            return True
        return hashlib.md5(self.payload, usedforsecurity=False).hexdigest() == checksum


_headers = msgspec.json.Decoder(Header)
_mappings = msgspec.json.Decoder(dict[str, Raw])
_NAMED = {each.encode_name for each in msgspec.structs.fields(Header)} - {"artifact", "has_payload", "attempt", "rank"}
_CONTEXT = frozenset(
    {"frame_id", "frame_compile_id", "compiled_autograd_id", "attempt", "rank", "has_payload", "stack", "pathname", "lineno"}
)
_KINDS = tuple(sorted(_NAMED - _CONTEXT - {"str"}))


def read_records(chunks: Iterator[bytes], losses: Losses) -> Iterator[Record]:
    """Every record of one log file, in file order.

    Args:
        chunks: the file's decompressed bytes.
        losses: where what cannot be read is counted.

    A log whose paths somebody rewrote no longer fits its checksums: where an earlier record shows that, the last one's proves
    nothing.
    """
    previous: Record | None = None
    ended, edited, text = True, False, b""
    for text, ended in _split(chunks, losses):
        if previous is not None:
            edited = edited or not (len(previous.raw_payload) > _CHECKED_BYTES or previous.is_whole)
            yield previous
        previous = _record(text, losses, last=not ended)
    if previous is not None and not ended and not previous.is_whole and not (edited and text.endswith(b"\n")):
        losses.cut(HALF)
        previous = Record(previous.kind, previous.header, b"")
    if previous is not None:
        yield previous


def _split(chunks: Iterator[bytes], losses: Losses) -> Iterator[tuple[bytes, bool]]:
    """Whole records with True, then the one at the end of the file with False."""
    buffer, searched = b"", 0
    for chunk in chunks:
        buffer += chunk
        start = 0
        for found in _NEXT_RECORD.finditer(buffer, searched):
            yield buffer[start : found.end()], True
            start = found.end()
        buffer = buffer[start:]
        if len(buffer) > MAX_RECORD:
            losses.add(TOO_LARGE)
            buffer = b""
        # The newline at the very end may open the next record: it is looked at again.
        searched = max(0, len(buffer) - 1)
    if buffer:
        yield buffer, False


def _record(text: bytes, losses: Losses, last: bool) -> Record | None:
    line, _, payload = text.partition(b"\n")
    found = _HEADER.match(line)
    if found is None:
        _lose(losses, NO_RECORD, last)
        return None
    try:
        header = _headers.decode(line[found.end() :])
        kind = _kind(header, line[found.end() :])
    except (msgspec.DecodeError, UnicodeDecodeError):
        _lose(losses, BAD_HEADER, last)
        return None
    return Record(kind, header, payload)


def _lose(losses: Losses, why: str, last: bool) -> None:
    if last:
        losses.cut(HALF)
    else:
        losses.add(why)


def _kind(header: Header, text: bytes) -> str:
    if header.artifact is not None:
        return header.artifact.name
    if header.string is not None:
        return "str"
    for name in _KINDS:
        if getattr(header, name):
            return name
    return next((name for name in _mappings.decode(text) if name not in _CONTEXT), "")


def decode(raw: Any, decoder: msgspec.json.Decoder[Any]) -> Any:
    """A payload or a part of a header by type; None where it is of another shape."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None

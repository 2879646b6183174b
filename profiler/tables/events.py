"""The shape of a Kineto event, as far as any table needs it; unknown keys are skipped while decoding."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from profiler.tables.losses import Losses

ABSENT = Raw(b"")


class Args(Struct, gc=False):
    """`args` of every kind of event. Lists stay the JSON text that they were: no table needs them parsed."""

    external_id: int | None = field(default=None, name="External id")
    correlation: int | None = None
    device: int | None = None
    stream: int | None = None
    bytes: int | None = None
    bandwidth: float | None = field(default=None, name="memory bandwidth (GB/s)")
    grid: Raw = ABSENT
    block: Raw = ABSENT
    registers: int | None = field(default=None, name="registers per thread")
    shared_memory: int | None = field(default=None, name="shared memory")
    occupancy: float | None = field(default=None, name="est. achieved occupancy %")
    sync_kind: str | None = field(default=None, name="cuda_sync_kind")
    sequence: int | None = field(default=None, name="Sequence number")
    input_dims: Raw = field(default=ABSENT, name="Input Dims")
    input_types: Raw = field(default=ABSENT, name="Input type")
    input_strides: Raw = field(default=ABSENT, name="Input Strides")
    concrete_inputs: Raw = field(default=ABSENT, name="Concrete Inputs")
    kernel_file: str | None = None
    python_id: int | None = field(default=None, name="Python id")
    python_parent_id: int | None = field(default=None, name="Python parent id")
    python_module_id: int | None = field(default=None, name="Python module id")
    address: int | None = field(default=None, name="Addr")
    memory_bytes: int | None = field(default=None, name="Bytes")
    total_allocated: int | None = field(default=None, name="Total Allocated")
    total_reserved: int | None = field(default=None, name="Total Reserved")
    device_type: int | None = field(default=None, name="Device Type")
    device_id: int | None = field(default=None, name="Device Id")
    track_name: str | None = field(default=None, name="name")
    labels: str | None = None
    sort_index: int | None = None
    collective: str | None = field(default=None, name="Collective name")
    group: Raw = field(default=ABSENT, name="Process Group Name")
    group_ranks: Raw = field(default=ABSENT, name="Process Group Ranks")
    collective_number: int | None = field(default=None, name="Seq")


class Event(Struct, gc=False):
    """One event of `traceEvents`: times are microseconds, ids numbers or text."""

    ph: str
    name: str = ""
    cat: str = ""
    pid: int | str = 0
    tid: int | str = 0
    ts: float | None = None
    dur: float | None = None
    args: Args = field(default_factory=Args)


# Not strict: numbers written as strings are read as the numbers that they are.
many = msgspec.json.Decoder(list[Event], strict=False)
_one = msgspec.json.Decoder(Event, strict=False)


def decode_one(text: str, parsed: Any, losses: Losses) -> Event | None:
    """One event from its JSON text; what cannot be read of it is counted.

    An event whose arguments have an unexpected type is kept without them: its name and times still count.
    """
    try:
        return _one.decode(text)
    except msgspec.DecodeError:
        pass
    if not isinstance(parsed, dict):
        losses.add("not an event (no JSON object)")
        return None
    try:
        event = _one.decode(json.dumps(parsed | {"args": {}}, allow_nan=False))
    except (msgspec.DecodeError, ValueError) as error:
        losses.add(f"not an event ({str(error)[:80]})")
        return None
    if parsed.get("args") is not None:
        losses.add("arguments of an unexpected type (the event itself is kept)")
    return event

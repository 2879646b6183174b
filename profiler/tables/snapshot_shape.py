"""Any of the forms in which torch has written CUDA memory snapshots, as the one of today; what is none is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import Any

_Dict = dict[str, Any]


class WrongShape(Exception):
    """Unpickled data that is no CUDA memory snapshot; the message says where."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot whose lists are lists and whose records are dicts; the values inside records are not looked at yet.

    Args:
        traces: events, a list a device.
    """

    segments: list[_Dict]
    blocks: list[_Dict]
    traces: list[list[_Dict]]
    annotations: list[_Dict] = field(default_factory=list)
    settings: _Dict = field(default_factory=dict)


def snapshot_of(data: object) -> Snapshot:
    """What was unpickled, as a snapshot.

    Raises:
        WrongShape: it is none.
    """
    # torch 1.13 and torch.cuda.memory_snapshot(): the list of segments alone.
    whole = {"segments": data} if isinstance(data, list) else data
    if not isinstance(whole, dict) or "segments" not in whole:
        raise WrongShape("it has no 'segments'")
    segments = _records(whole["segments"], "segments")
    traces = [_records(each, f"device_traces[{i}]") for i, each in enumerate(_list(whole.get("device_traces"), "device_traces"))]
    return Snapshot(
        segments=segments,
        blocks=_blocks(segments),
        traces=traces,
        annotations=_records(whole.get("external_annotations"), "external_annotations"),
        settings=_settings(whole.get("allocator_settings")),
    )


def _list(value: object, where: str) -> list[Any]:
    if value is None:
        return []
    if type(value) is not list:
        raise WrongShape(f"{where} is a {type(value).__name__}, not a list")
    return value


def _records(value: object, where: str) -> list[_Dict]:
    found = _list(value, where)
    others = set(map(type, found)) - {dict}
    if others:
        raise WrongShape(f"{where} holds a {min(each.__name__ for each in others)}, not records only")
    return found


def _settings(value: object) -> _Dict:
    if value is not None and not isinstance(value, dict):
        raise WrongShape(f"allocator_settings is a {type(value).__name__}, not a record")
    return value or {}


def _blocks(segments: list[_Dict]) -> list[_Dict]:
    """Every block, with the segment and the device that it lies in."""
    return list(chain.from_iterable(_blocks_of(segment) for segment in segments))


def _blocks_of(segment: _Dict) -> list[_Dict]:
    start = segment.get("address")
    shared = {"segment_address": start, "device": segment.get("device", 0)}
    found, end = [], start
    for block in _records(segment.get("blocks"), "the blocks of a segment"):
        # Before torch 2.2 blocks had no address: they lie one after the other.
        filled = {"address": end} | block | shared
        if "history" in block:
            filled = _with_history(filled)
        elif "requested_size" not in block:
            filled["requested_size"] = block.get("size")
        end = _sum(filled["address"], filled.get("size"))
        found.append(filled)
    return found


def _with_history(block: _Dict) -> _Dict:
    """Torch before 2.1: frames and requested sizes of a block's owners lie in its `history`, the latest first."""
    history = _records(block["history"], "the history of a block")
    if not history:
        return block | {"requested_size": block.get("size")}
    latest = history[0]
    return {"requested_size": latest.get("real_size"), "frames": latest.get("frames")} | block


def _sum(start: object, size: object) -> int:
    if not isinstance(start, int) or not isinstance(size, int):
        raise WrongShape("a block has no address or no size")
    return start + size

"""Files that claim to be snapshots and are none, by what is wrong with them; and a process that opens a folder of them."""

from __future__ import annotations

import gzip
import json
import pickle
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from hostile_pickles import embedded, record
from snapshots import block, event, frame, segment, snapshot

_ALLOC = event("alloc", 1 << 40, 512, 1)


def _dumped(data: object) -> bytes:
    return pickle.dumps(data, 4)


def _with_settings(opcodes: bytes) -> bytes:
    return record(segments=b"]", device_traces=embedded([[_ALLOC]]), allocator_settings=opcodes)


def _repeated(count: int) -> bytes:
    """One event, named again and again in two bytes."""
    return record(segments=b"]", device_traces=b"](](" + embedded(_ALLOC) + b"q\xfe" + b"h\xfe" * count + b"ee")


def _same_frames(stacks: int, depth: int) -> bytes:
    """Stacks that differ in one frame and share all others."""
    shared = b"".join(b"h" + bytes([200 + number]) for number in range(8)) * (depth // 8)
    frames = b"".join(embedded(frame(f"f{number}")) + b"q" + bytes([200 + number]) + b"0" for number in range(8))
    events = b"".join(
        embedded(_ALLOC)[:-1] + _key(b"frames") + b"](" + embedded(frame("own", number)) + shared + b"eu"
        for number in range(stacks)
    )
    return record(segments=frames + b"]", device_traces=b"](](" + events + b"ee")


def _key(text: bytes) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text


def _laughs(depth: int) -> bytes:
    """A list of two of the same list of two of the same ...: small in memory, endless to walk through."""
    return b"]q\x01" + b"0](h\x01h\x01eq\x01" * depth


def _events(*traces: object, **more: object) -> bytes:
    return _dumped(snapshot(*traces, **more))


def _event(**changes: object) -> bytes:
    return _events([_ALLOC | changes])


def _segment(**changes: object) -> bytes:
    return _events([], segments=[segment(1 << 40, block(1 << 40, 512)) | changes])


def _block(**changes: object) -> bytes:
    return _segment(blocks=[block(1 << 40, 512) | changes])


# What is wrong -> (the file's bytes, what the error says).
WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is empty"),
    "text": (lambda: b"{}", "is no pickle"),
    "protocol 0": (lambda: pickle.dumps({}, 0), "is no pickle"),
    "cut": (lambda: _event()[:-9], "is truncated"),
    "cut before its last byte, then ended": (lambda: _event()[:-9] + b".", "no whole pickle"),
    "gzip, cut": (lambda: gzip.compress(_event() * 999, mtime=0)[:-9], "is truncated"),
    "gzip, garbled": (lambda: gzip.compress(_event(), mtime=0)[:20] + b"\0" * 40, "cannot be unpacked|is truncated|is no pickle"),
    "a number": (lambda: _dumped(7), "has no 'segments'"),
    "another dict": (lambda: _dumped({"traces": []}), "has no 'segments'"),
    "no CUDA": (lambda: _events([], []), "is empty: it holds no segment and no event of a CUDA device"),
    "no segments at all": (lambda: _dumped([]), "is empty"),
    "segments of another kind": (lambda: _dumped({"segments": {}}), "segments is a dict, not a list"),
    "traces of another kind": (lambda: _dumped({"segments": [], "device_traces": 7}), "device_traces is a int"),
    "a trace of another kind": (lambda: _dumped({"segments": [], "device_traces": [()]}), r"device_traces\[0\] is a tuple"),
    "events of another kind": (lambda: _events([_ALLOC, 7]), "holds a int, not records only"),
    "settings of another kind": (lambda: _events([_ALLOC], allocator_settings=[]), "allocator_settings is a list"),
    "settings too large": (lambda: _events([_ALLOC], allocator_settings={"a": "x" * 99999}), "larger than settings can be"),
    "settings of bytes": (lambda: _events([_ALLOC], allocator_settings={"a": b"x"}), "not plain settings"),
    "settings nested": (lambda: _with_settings(b"}" + (_key(b"a") + b"}") * 99999 + b"s" * 99999), "not plain settings"),
    "settings without end": (lambda: _with_settings(_laughs(64)), "allocator_settings is a list"),
    "settings of lists without end": (lambda: _with_settings(b"}" + _key(b"a") + _laughs(60) + b"s"), "larger than settings"),
    "an address of text": (lambda: _event(addr="0x10"), "'addr' of device_traces.0. are not all whole numbers"),
    "an address that no 64 bits hold": (lambda: _event(addr=1 << 64), "'addr'"),
    "a negative address": (lambda: _event(addr=-1), "'addr'"),
    "no address": (lambda: _events([event("alloc", None, 512, 1)]), r"an event of device_traces\[0\] has no 'addr'"),
    "a size of half a byte": (lambda: _event(size=0.5), "'size'"),
    "a size that is no number": (lambda: _event(size=float("nan")), "'size'"),
    "no size": (lambda: _event(size=None), "records without 'size'"),
    "a size that no device has": (lambda: _event(size=1 << 60), "which no device has"),
    "a time of text": (lambda: _event(time_us="now"), "'time_us'"),
    "an action of a list": (lambda: _event(action=[]), "the action of an event is not always a text"),
    "an action of bytes": (lambda: _event(action=b"alloc"), "the action of an event is not always a text"),
    "frames of text": (lambda: _event(frames="model.py"), "frames are a str"),
    "frames of a number": (lambda: _event(frames=7), "frames are a int"),
    "frames of a dict": (lambda: _event(frames={0: frame("f")}), "frames are a dict"),
    "a frame of text": (lambda: _event(frames=["model.py"]), "a frame is no record"),
    "a frame without a line": (lambda: _event(frames=[{"name": "f", "filename": "m"}]), "a frame is no record"),
    "a frame whose name is a list": (lambda: _event(frames=[frame([])]), "a frame is no record|not always a text"),
    "a frame whose name is a tuple": (lambda: _event(frames=[frame(("f",))]), "not always a text"),
    "a frame whose line is text": (lambda: _event(frames=[frame("f", "1")]), "the line of a frame"),
    "a frame of a long name": (lambda: _event(frames=[frame("f" * 70_000)]), "a text of 70000 characters"),
    "too many frames": (lambda: _event(frames=[frame("f")] * 40_000), "frames are a list of 40000"),
    "long metadata": (lambda: _event(user_metadata="m" * 70_000), "a text of 70000 characters"),
    "metadata of a number": (lambda: _event(user_metadata=7), "'user_metadata'"),
    "pools of a number": (lambda: _event(pool_id=7), "'pool_id'"),
    "pools of text": (lambda: _event(pool_id="ab"), "'pool_id'"),
    "a segment without blocks of a list": (lambda: _segment(blocks=7), "the blocks of a segment is a int"),
    "a segment of another kind": (lambda: _segment(segment_type="huge"), "'segment_type' of segments says 'huge'"),
    "a segment on no device": (lambda: _segment(device=None), "records without 'device'"),
    "a segment flagged with text": (lambda: _segment(is_expandable="yes"), "'is_expandable'"),
    "a block in another state": (lambda: _block(state="lost"), "'state' of blocks says 'lost'"),
    "a block without a size": (lambda: _block(size=None), "a block has no address or no size"),
    "a block's history of another kind": (lambda: _block(history=7), "the history of a block is a int"),
    "an annotation at no time": (lambda: _events([_ALLOC], external_annotations=[{"stage": "START"}]), "'time_us'"),
    "one event a million times": (lambda: _repeated(1_000_000), "the same records again and again"),
    "one event fifty million times": (
        lambda: gzip.compress(_repeated(50_000_000), 1, mtime=0),
        "the same records again and again",
    ),
    "the same frames again and again": (lambda: _same_frames(2000, 32_000), "the same frames again and again"),
    "a trace that holds itself": (lambda: record(segments=b"]", device_traces=b"]q\x01(h\x01e"), "holds a list"),
    "frames that hold themselves": (
        lambda: record(segments=b"]", device_traces=b"](](" + embedded(_ALLOC)[:-1] + _key(b"frames") + b"]q\x01(h\x01euee"),
        "a frame is no record",
    ),
}  # fmt: skip


def open_all(folder: Path) -> dict[str, object]:
    """Open every file of a folder as a snapshot; what came of each, and how much this process has grown, MB."""
    from profiler.core.errors import UnreadableInput
    from profiler.tables.snapshot import open_snapshot

    def peak_mb() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    begin, found = peak_mb(), {}
    for path in sorted(folder.iterdir()):
        try:
            found[path.name] = ["read", repr(open_snapshot(path, folder.parent / "cache").rows), ""]
        except UnreadableInput as error:
            found[path.name] = ["refused", error.message, error.hint]
    return {"found": found, "grown_mb": peak_mb() - begin}


if __name__ == "__main__":
    print(json.dumps(open_all(Path(sys.argv[1]))))

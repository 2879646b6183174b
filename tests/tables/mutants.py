"""Reads mutated snapshots as the child process of `snapshot_process` reads them, and says of each what came of it.

Usage: python mutants.py SEED FIRST LAST FOLDER; a line a mutant goes to stdout before the next one begins.
"""

from __future__ import annotations

import gc
import io
import os
import pickle
import random
import sys
from pathlib import Path

from hostile_pickles import RUNS_CODE
from snapshots import RECORDED, plain

from profiler.core import safe_pickle
from profiler.core.errors import UnreadableInput
from profiler.tables.losses import Losses
from profiler.tables.snapshot_child import _limit, _settings
from profiler.tables.snapshot_columns import write_tables
from profiler.tables.snapshot_room import Room
from profiler.tables.snapshot_shape import WrongShape, snapshot_of

# What a pickle must not do, as the interpreter itself reports it.
_FORBIDDEN = ("os.system", "subprocess.Popen", "exec", "compile", "import", "socket.", "ctypes.", "pickle.find_class", "os.exec")
_events: list[str] = []
_unpickling = False


def listen(event: str, _: object) -> None:
    """Note what unpickling does that it must not; afterwards, libraries import parts of themselves."""
    if _unpickling and event.startswith(_FORBIDDEN):
        _events.append(event)


def unpickled(data: bytes) -> object:
    """What the bytes hold, watched."""
    global _unpickling
    _unpickling = True
    try:
        return safe_pickle.load(io.BytesIO(data))
    finally:
        _unpickling = False


def small_snapshot() -> dict[str, object]:
    """The first events and segments of a recorded snapshot, all of its kinds of records in it."""
    data = plain(RECORDED[0])
    data["device_traces"] = [[each | {"frames": each["frames"][:4]} for each in data["device_traces"][0][:12]]]
    data["segments"] = [each | {"frames": each["frames"][:2], "blocks": each["blocks"][:1]} for each in data["segments"][:3]]
    data["external_annotations"] = [{"stage": "START", "name": "call", "device": 0, "time_us": 1}]
    return data


def with_odd_value(data: object, pick: random.Random) -> object:
    """The data with one value somewhere inside it replaced by one that has no business there."""
    if isinstance(data, dict | list) and data and pick.random() < 0.85:
        key = pick.choice(list(data)) if isinstance(data, dict) else pick.randrange(len(data))
        copy = data.copy()
        copy[key] = with_odd_value(data[key], pick)
        return copy
    odd = (
        None,
        True,
        -1,
        0,
        1 << 40,
        1 << 63,
        1 << 70,
        1.5,
        float("nan"),
        "",
        "oom",
        "\ud800",
        b"x",
        (),
        [],
        {},
        [[]],
        {1},
        data,
        [data],
    )
    return pick.choice(odd)


def with_odd_bytes(data: bytes, pick: random.Random) -> bytes:
    """The bytes with one or two stretches changed, lost, doubled or moved, or with opcodes that run code put in."""
    result = bytearray(data)
    for _ in range(pick.randint(1, 2)):
        at, length = pick.randrange(2, len(result)), pick.randint(1, 40)
        start = pick.randrange(2, len(result))
        match pick.randrange(7):
            case 0:
                result[at] = pick.randrange(256)
            case 1:
                result[at] ^= 1 << pick.randrange(8)
            case 2:
                del result[at : at + length]
            case 3:
                result[at:at] = result[at : at + length]
            case 4:
                result[at:at] = result[start : start + length]
            case 5:
                result[at:at] = pick.choice(list(RUNS_CODE.values()))[2:-1]
            case 6:
                result[at] = pick.choice(b"RioP\x81\x82\x83\x84\x92\x93bcQrjB\x8b\x8d\x8e\x95\x96(t0u.")
    return bytes(result)


def mutant(snapshot: dict[str, object], pick: random.Random) -> bytes:
    """One mutated snapshot: two of three in their bytes, the third in a value."""
    if pick.randrange(3):
        return with_odd_bytes(pickle.dumps(snapshot, 4), pick)
    return pickle.dumps(with_odd_value(snapshot, pick), 4)


def outcome(data: bytes, folder: Path) -> str:
    """What reading it ends in; any other exception is a fault of the reader and ends the process."""
    try:
        snapshot = snapshot_of(unpickled(data))
        _settings(snapshot)
        write_tables(snapshot, folder, 0, Room(len(data)), Losses())
    except UnreadableInput as error:
        return "asks for code" if "asks for" in error.message or "outside" in error.message else "no pickle"
    except WrongShape:
        return "no snapshot"
    except MemoryError:
        return "too large"
    return "read"


def main(seed: int, first: int, last: int, folder: Path) -> None:
    snapshot = small_snapshot()
    data = pickle.dumps(snapshot, 4)
    assert outcome(data, folder) == "read"
    gc.disable()
    _limit(len(data))
    sys.addaudithook(listen)
    for number in range(first, last):
        data = mutant(snapshot, random.Random(seed * 1_000_003 + number))
        _events.clear()
        print(number, outcome(data, folder), ",".join(sorted(set(_events))), sep="|", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
    os._exit(0)

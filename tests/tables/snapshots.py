"""Snapshots of two kinds: recorded ones, and small ones made by hand."""

from __future__ import annotations

import gzip
import pickle
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The runs kept with the code, not those of whoever works here.
_KEPT = re.findall(r"^\| `([\w.-]+)`", (ROOT / "traces" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
RECORDED = sorted(
    [
        *(path for name in _KEPT for path in (ROOT / "traces" / name).glob("rank0/memory*.pickle.gz")),
        *(ROOT.parent / "shared" / "h100").glob("*.snapshot.pickle.gz"),
    ]
)


def plain(path):
    """The pickle's data as it is. Only for files of this project."""
    with gzip.open(path) as file:
        return pickle.load(file)


def frame(name, line=1, file="model.py"):
    return {"name": name, "filename": file, "line": line}


def event(action, addr, size, time_us, frames=(), **more):
    return {"action": action, "addr": addr, "size": size, "stream": 0, "time_us": time_us, "frames": list(frames), **more}


def block(address, size, state="active_allocated", **more):
    return {"address": address, "size": size, "requested_size": size, "state": state, "frames": []} | more


def segment(address, *blocks, **more):
    total = sum(each["size"] for each in blocks)
    return {
        "device": 0,
        "address": address,
        "total_size": total,
        "allocated_size": total,
        "active_size": total,
        "requested_size": total,
        "stream": 0,
        "segment_type": "large",
        "segment_pool_id": (0, 0),
        "is_expandable": False,
        "frames": [],
        "blocks": list(blocks),
    } | more


def snapshot(*traces, segments=(), **more):
    return {"segments": list(segments), "device_traces": list(map(list, traces)), "allocator_settings": {}, **more}


def write(path, data, protocol=4):
    path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data, protocol=protocol))
    return path

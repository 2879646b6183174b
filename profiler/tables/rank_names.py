"""What the names of trace files say: whose rank a trace is, and on which host it was recorded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from profiler.rundir import layout

# A longer number is a date.
_NAMED = re.compile(r"rank[-_.=]?([0-9]{1,5})(?![0-9])", re.IGNORECASE)
# `trace_3.json`, `3.pt.trace.json.gz`: nothing else in the name may be taken for a rank.
_LONE_NUMBER = re.compile(r"\D*?([0-9]{1,4})(\.pt)?(\.trace)?\.json(\.gz)?")
# `host_pid.nanoseconds.pt.trace.json.gz`: torch's `tensorboard_trace_handler`.
_WORKER = re.compile(r"(.+)_([0-9]+)\.[0-9]+\.pt\.trace\.json(\.gz)?")
_NUMBER = re.compile(r"[0-9]{1,9}")


def rank_of_name(path: Path) -> int | None:
    """By the file's name, else by its folder's."""
    for name in (path.name, path.parent.name):
        if (found := _NAMED.search(name)) and int(found[1]) < layout.MOST_RANKS:
            return int(found[1])
    lone = _LONE_NUMBER.fullmatch(path.name)
    return int(lone[1]) if lone else None


def ranks_by_place(names: Sequence[PurePosixPath]) -> list[int] | None:
    """The ranks of files whose names (below one folder) differ in one number alone, which counts from 0: `node1/trace.json`."""
    if len(names) < 2 or len({_NUMBER.sub("#", str(name)) for name in names}) != 1:
        return None
    columns = list(zip(*([int(each) for each in _NUMBER.findall(str(name))] for name in names), strict=True))
    counting = {each for each in columns if sorted(each) == list(range(len(names)))}
    others = [each for each in columns if each not in counting and len(set(each)) > 1]
    return list(counting.pop()) if len(counting) == 1 and not others else None


def host_of_name(path: Path, pid: object) -> str:
    """The host where torch's TensorBoard handler wrote the file; empty where the name has not the process's own id."""
    found = _WORKER.fullmatch(path.name)
    return found[1] if found and found[2] == str(pid) else ""

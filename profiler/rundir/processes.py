"""Whether the process that wrote something still lives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_MAX_PID = (1 << 31) - 1


def process_identity(pid: int | None = None) -> dict[str, int]:
    """The process id and its start time in clock ticks: together they name a process even after the id is reused."""
    pid = os.getpid() if pid is None else pid
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return {"pid": pid}
    return {"pid": pid, "start_ticks": int(fields[19])}


def alive(process: dict[str, Any]) -> bool:
    """Whether the process that `process_identity` named runs on this host."""
    pid = process.get("pid")
    if not isinstance(pid, int) or not 0 < pid <= _MAX_PID:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if _is_zombie(pid):
        return False
    ticks = process.get("start_ticks")
    return ticks is None or process_identity(pid).get("start_ticks") == ticks


def _is_zombie(pid: int) -> bool:
    """Whether a process has died and nobody has asked how: in a container it may stay so for ever."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return False

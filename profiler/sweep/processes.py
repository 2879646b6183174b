"""Processes of a cell: ended with everything that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

# In the environment of a cell's process and of all that it starts, in sessions of their own too (Inductor's workers).
MARK = "DIFFUSCOPE_CELL"
# Seconds for a process that is told to end to seal its run.
GRACE_S = 20.0
_POLL_S = 0.1
_SCANS = 20


class Process(Protocol):
    """What is needed of a Popen, and of what stands for one."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; `subprocess.TimeoutExpired` where that does not come in time."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal."""


def wait_for(child: Process, limit_s: float, stop: Callable[[], bool]) -> str | None:
    """Wait for a process: None where it ended by itself, "timeout" or "stopped" where it has to be ended."""
    deadline = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_POLL_S)
            return None
        if stop():
            return "stopped"
        if time.monotonic() >= deadline:
            return "timeout"


def end(child: Process, mark: str, grace_s: float = GRACE_S) -> None:
    """End a process: asked first, so that it can seal its run; then kill what is left of its group and all with its mark."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=grace_s)
    kill(child, mark)


def kill(child: Process, mark: str) -> None:
    """Kill a process's group, and every process that carries its mark."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    # Twice at least: while a process starts its program, it shows no environment for a moment.
    for scan in range(_SCANS):
        found = marked(mark)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if scan and not found:
            return
        time.sleep(_POLL_S)


def marked(mark: str) -> list[int]:
    """The processes of this user whose environment carries a mark, this one left out."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found

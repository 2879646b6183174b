"""The starter: a process that has imported what cells need, and forks one at each request.

A cell is then as if it had been started by itself, in a session of its own, with its own environment and log, and the libraries
imported already. Requests come through a socket as JSON with two files: the log, and a socket that hears how the cell ends.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import runpy
import select
import socket
import sys
from typing import Any

from profiler.core.child import die_with_parent
from profiler.recording.quiet import set_quiet_environment
from profiler.sweep.preload import preload
from profiler.sweep.processes import MARK

# A message with a whole environment in it.
MESSAGE_BYTES = 1 << 20
_POLL_S = 0.05


class Starter:
    """Forks cells and says how they ended, until the sweep's end of the socket is closed."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._cells: dict[int, socket.socket] = {}

    def run(self) -> dict[str, Any] | None:
        """Serve requests. Returns None when the sweep is gone, and in a forked cell its request."""
        while True:
            ready, _, _ = select.select([self._requests], [], [], _POLL_S if self._cells else None)
            self._reap()
            if ready:
                message, files, _, _ = socket.recv_fds(self._requests, MESSAGE_BYTES, 2)
                if not message:
                    return None
                request = json.loads(message)
                if self._fork(*files):
                    return dict(request)

    def _fork(self, log: int, status: int) -> bool:
        """Whether this is the new process."""
        told = socket.socket(fileno=status)
        pid = os.fork()
        if pid:
            os.close(log)
            self._cells[pid] = told
            _tell(told, {"pid": pid})
            return False
        told.close()
        self._requests.close()
        for each in self._cells.values():
            each.close()
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        return True

    def _reap(self) -> None:
        for pid, told in list(self._cells.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _tell(told, {"code": os.waitstatus_to_exitcode(status)})
                self._cells.pop(pid).close()


def _tell(told: socket.socket, what: dict[str, int]) -> None:
    try:
        told.send(json.dumps(what).encode())
    except OSError:
        return  # nobody waits any more: the sweep is about to end


def become(request: dict[str, Any]) -> None:
    """Be the process that `python -m MODULE ARGUMENTS` would be; ends with SystemExit."""
    show_mark(request["environment"][MARK])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdin = io.StringIO(request["input"])
    sys.argv = [request["module"], str(os.getppid()), *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def show_mark(mark: str) -> None:
    """Write the cell's mark where /proc shows it: over the placeholder in the environment that this process was started with."""
    get = ctypes.CDLL(None).getenv
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    address, room = get(MARK.encode()), len(os.environ[MARK])
    text = mark.encode()
    if len(text) > room:
        raise ValueError(f"the mark {mark} is longer than the {room} bytes that are kept for it")
    ctypes.memmove(address, text.ljust(room, b"\0"), room)


def main() -> None:
    """Arguments: the starting process's id, the socket's file, and the modules to import."""
    die_with_parent(int(sys.argv[1]))
    requests = socket.socket(fileno=int(sys.argv[2]))
    set_quiet_environment()
    why = preload(sys.argv[3:])
    _tell(requests, {"refused": why} if why else {"ready": True})  # type: ignore[dict-item]
    if why:
        return
    request = Starter(requests).run()
    if request is not None:
        become(request)


if __name__ == "__main__":
    main()

"""The sweep's side of the starter: cells begin with their libraries imported, and by themselves where that cannot be."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from profiler.recording.environment import WARM
from profiler.sweep.processes import MARK
from profiler.sweep.starter import MESSAGE_BYTES

# What is read when it is needed, and not while torch is imported: cells of one starter may differ in these alone.
_LATE = frozenset({MARK, "CUDA_VISIBLE_DEVICES"})
_MARK_ROOM = 256
_READY_S = 300.0
_POLL_S = 0.1


class StarterLost(Exception):
    """The starter died, and with it its cells: how this one would have ended is not known."""


class ForkedCell:
    """A process that the starter forked, as far as it is needed like a Popen."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self.returncode: int | None = None
        self.pid: int = self._hear()["pid"]

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code, negative where a signal killed it.

        Raises:
            subprocess.TimeoutExpired: it has not ended in time.
            StarterLost: nobody can say any more.
        """
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self.returncode = self._hear()["code"]
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("cell", timeout or 0.0) from None
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def _hear(self) -> dict[str, int]:
        try:
            message = self._told.recv(4096)
        except ConnectionError:
            message = b""
        if not message:
            # The kernel kills its cells with it.
            self.returncode = -signal.SIGKILL
            raise StarterLost("the process that forks cells died")
        return dict(json.loads(message))


class WarmStarter:
    """A starter process. Make it in the main thread: it dies with the thread that started it.

    Args:
        environment: of the cells, as far as they have it in common.
        modules: what it imports before the first cell.
        log: hears what the imports print.
    """

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str], log: BinaryIO) -> None:
        self._environment = dict(environment) | {MARK: f"{environment[MARK]}/starter".ljust(_MARK_ROOM, "-")}
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES)
        self._lock = threading.Lock()
        self._ready = False
        self.why: str | None = None
        arguments = [sys.executable, "-m", "profiler.sweep.starter", str(os.getpid()), str(theirs.fileno()), *modules]
        with theirs:
            self._process = subprocess.Popen(
                arguments,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        text: str,
        environment: Mapping[str, str],
        log: BinaryIO,
        stop: Callable[[], bool],
    ) -> ForkedCell | None:
        """Fork a process that runs a module with some arguments behind its parent's id, and a text as its standard input.

        Returns:
            None where it cannot be: `why` says it, or the environment differs in what was read while importing.
        """
        with self._lock:
            if not self._wait_until_ready(stop) or not self._same(environment):
                return None
            request = {"module": module, "arguments": list(arguments), "input": text}
            message = json.dumps(request | {"environment": {**environment, WARM: "1"}}).encode()
            told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                with theirs:
                    socket.send_fds(self._requests, [message], [log.fileno(), theirs.fileno()])
                return ForkedCell(told)
            except (OSError, StarterLost) as error:
                told.close()
                self._give_up(str(error))
                return None

    def lose(self, why: str) -> None:
        """Note that it died; it is asked for nothing any more."""
        with self._lock:
            self._give_up(why)

    def close(self) -> None:
        """End it, and with it whatever it still has."""
        self._requests.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _same(self, environment: Mapping[str, str]) -> bool:
        names = (environment.keys() | self._environment.keys()) - _LATE
        return all(environment.get(each) == self._environment.get(each) for each in names)

    def _wait_until_ready(self, stop: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + _READY_S
        self._requests.settimeout(_POLL_S)
        while not self._ready and self.why is None:
            try:
                message = self._requests.recv(4096)
            except TimeoutError:
                if stop() or time.monotonic() >= deadline:
                    self._give_up("stopped" if stop() else f"its imports took longer than {_READY_S:.0f} s")
                continue
            except OSError as error:
                message = json.dumps({"refused": str(error)}).encode()
            answer = json.loads(message) if message else {"refused": "it died while importing"}
            self._ready = "ready" in answer
            if not self._ready:
                self._give_up(answer["refused"])
        return self.why is None

    def _give_up(self, why: str) -> None:
        self.why, self._ready = why, False
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

"""Child processes that end with whoever started them, however that one ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel send this process a signal when the one that started it dies: what nobody waits for must not go on.

    Args:
        parent: that process's id; where it has died already, this one ends at once.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, how)
    if os.getppid() != parent:
        os._exit(1)


def child_command(module: str) -> list[str]:
    """The command line of `python -m MODULE` as a child of this process. Start it in the main thread: it dies with its thread."""
    return [sys.executable, "-m", __name__, str(os.getpid()), module]


def main() -> None:
    """Be the module. Arguments: the starting process's id, and the module."""
    # Asked, and not killed: a recording seals its run first.
    die_with_parent(int(sys.argv[1]), signal.SIGTERM)
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

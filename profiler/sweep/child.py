"""The recording process of one cell: as `profiler.recording`, but it dies with its sweep and begins on a clean GPU."""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import NoReturn

from profiler.core.child import die_with_parent
from profiler.recording.quiet import set_quiet_environment

# A context and what small neighbours take; a cell that was killed may need seconds to give its memory back.
_CLEAN_BYTES = 2 << 30
_WAIT_S = 30.0
WARNING = "warning: "


def main() -> NoReturn:
    """Record the request on standard input. Arguments: the starting process's id, and `gpu` where the cell runs on one."""
    die_with_parent(int(sys.argv[1]))
    set_quiet_environment()
    if "gpu" in sys.argv[2:]:
        wait_for_clean_gpu()
    from profiler.recording.__main__ import main as record

    leave(record())


def leave(code: int) -> NoReturn:
    """End at once: all is written down, and taking a program with its libraries and its weights apart takes seconds."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def wait_for_clean_gpu() -> None:
    """Wait until the GPU's memory is free of the cell before; say so where it stays occupied, and go on."""
    import torch

    if not torch.cuda.is_available():
        return
    deadline = time.monotonic() + _WAIT_S
    while (used := _used_bytes()) > _CLEAN_BYTES and time.monotonic() < deadline:
        time.sleep(1.0)
    before = WARNING if used > _CLEAN_BYTES else ""
    sys.stderr.write(f"{before}{used / (1 << 30):.1f} GiB of the GPU were in use before this cell (pid {os.getpid()})\n")


def _used_bytes() -> int:
    import torch

    free, total = torch.cuda.mem_get_info()
    return int(total - free)


if __name__ == "__main__":
    main()

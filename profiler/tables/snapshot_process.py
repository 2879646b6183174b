"""Reading a snapshot in a child process: no pickle can run, swell or kill anything in this one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from profiler.core.errors import UnreadableInput
from profiler.tables.cache import key_of
from profiler.tables.snapshot_answer import ERROR, FACTS, FAILED, take

# Beyond the child's own limit on CPU time: for a disk or a machine that stands still.
_WALL_S = 900
_WALL_BYTES_PER_S = 1 << 16
# Nothing that lies in the working directory can be imported in place of a library.
_BOOT = (
    "import sys, runpy; sys.path.append(sys.argv.pop(1)); runpy.run_module('profiler.tables.snapshot_child', run_name='__main__')"
)
_DISTRUST = "do not trust this file; record the snapshot again"


def read_snapshot(source: Path, folder: Path, rank: int) -> dict[str, Any]:
    """Have `source` read into Parquet files in `folder`; returns settings, losses and rows of each table.

    Raises:
        UnreadableInput: no snapshot, a truncated or hostile one, or one that takes more than its size allows.
    """
    wall_s = _WALL_S + key_of(source)["size_bytes"] / _WALL_BYTES_PER_S
    with tempfile.TemporaryFile() as stderr:
        try:
            code = _child(source, folder, rank, wall_s, stderr)
        except subprocess.TimeoutExpired:
            raise UnreadableInput(f"{source} takes longer than {wall_s:.0f} s to read", _DISTRUST) from None
        if code == 0:
            return take(folder / FACTS)
        if code == FAILED:
            found = take(folder / ERROR)
            raise UnreadableInput(found["message"], found["hint"])
        raise UnreadableInput(f"{source} cannot be read: {_why(code, stderr)}", _DISTRUST)


def _child(source: Path, folder: Path, rank: int, wall_s: float, stderr: IO[bytes]) -> int:
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-P", "-c", _BOOT, root, str(source.absolute()), str(folder), str(rank)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        timeout=wall_s,
        check=False,
    ).returncode


def _why(code: int, stderr: IO[bytes]) -> str:
    if code == -signal.SIGXCPU:
        return "it takes more time than a snapshot of its size may"
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - 1000))
    lines = stderr.read().decode("utf-8", "replace").strip().splitlines()
    last = f" ({lines[-1][:200]!r})" if lines else ""
    if code >= 0:
        return f"the process that reads it failed{last}"
    name = str(-code)
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
    return f"the process that reads it was killed by {name}, out of memory or nested too deeply{last}"

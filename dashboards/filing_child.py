"""The process that imports what a browser sent: it may be made to run out of memory or to crash, and takes no server with it.

It calls what `diffuscope import` calls, and leaves an answer in a file: empty, or a message and a hint.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

from dashboards.uploads import LARGER
from profiler.core.errors import DiffuscopeError, UnreadableInput
from profiler.tables.chunks import read_chunks
from profiler.tables.importing import Inputs, import_files
from profiler.tables.losses import Losses

# Reading a trace of 1 GB takes a third of a GiB.
_MOST_UNPACKED = 4 << 30
_MEMORY_BYTES = 8 << 30
_CPU_S = 1800
_FILE_BYTES = 8 << 30


def main(request: Path, answer: Path) -> None:
    """Import what `request` names; `answer` says how it went."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    paths = {key: Path(asked[key]) if asked[key] else None for key in ("trace", "memory", "compile_log")}
    _limit()
    try:
        if paths["trace"]:
            _refuse_bomb(paths["trace"])
        import_files(Inputs(**paths, timed_ms=asked["timed_ms"]), Path(asked["out"]), asked["command"])
        found = {}
    except DiffuscopeError as error:
        found = {"message": error.message, "hint": error.hint}
    except MemoryError:
        found = {"message": "The files take more memory to read than they may", "hint": LARGER}
    answer.write_text(json.dumps(found), encoding="utf-8")


def _refuse_bomb(trace: Path) -> None:
    """A few MiB can unpack to whole disks; counting that costs little."""
    unpacked = 0
    for chunk in read_chunks(trace, Losses()):
        unpacked += len(chunk)
        if unpacked > _MOST_UNPACKED:
            raise UnreadableInput(f"{trace} unpacks to more than {_MOST_UNPACKED >> 30} GiB", LARGER)


def _limit() -> None:
    """From here on this process takes no more than honest files do; the one that reads the snapshot sets its own limits."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = {
        resource.RLIMIT_DATA: min(_MEMORY_BYTES, physical * 3 // 4),
        resource.RLIMIT_CPU: _CPU_S,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

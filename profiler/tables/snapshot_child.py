"""The process that reads one snapshot: it may be made to fail, to run out of memory or to crash, and takes nobody with it.

`main` leaves Parquet tables and `FACTS` in a folder, or `ERROR` there; `snapshot_process` starts it and reads them.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from profiler.core import safe_pickle
from profiler.core.errors import UnreadableInput
from profiler.tables.losses import Losses
from profiler.tables.snapshot_answer import ERROR, FACTS, FAILED, leave
from profiler.tables.snapshot_columns import write_tables
from profiler.tables.snapshot_file import check_file, unpacked
from profiler.tables.snapshot_room import Room
from profiler.tables.snapshot_shape import Snapshot, WrongShape, snapshot_of

_HINT = "give the file that torch.cuda.memory._dump_snapshot writes"
# Python itself, before a byte of the snapshot.
_BASE_BYTES = 256 << 20
# Records in memory, their columns and a copy of these take at most so many times the bytes of the pickle.
_BYTES_PER_BYTE = 16
_BASE_CPU_S = 60
# Reading goes at 50 MB/s; a slow and busy machine takes no hundred times as long.
_CPU_BYTES_PER_S = 1 << 19
_STACK_BYTES = 16 << 20
_SETTINGS_CHARS = 1 << 16


def main(source: Path, folder: Path, rank: int) -> int:
    """Read `source` into tables in `folder`; the exit code."""
    # The process makes millions of objects, almost all of which live until its end.
    gc.disable()
    try:
        size = check_file(source)
        _limit(size)
        facts = _read(source, folder, rank, Room(size))
    except UnreadableInput as error:
        return _failed(folder, error.message, error.hint)
    except WrongShape as error:
        return _failed(folder, f"{source} is no CUDA memory snapshot: {error}", _HINT)
    except RecursionError:
        return _failed(folder, f"{source} cannot be read: it nests more deeply than a snapshot does", "do not trust this file")
    except MemoryError:
        return _failed(folder, f"{source} takes more memory to read than a snapshot of its size may", "do not trust this file")
    leave(folder / FACTS, facts)
    return 0


def _failed(folder: Path, message: str, hint: str) -> int:
    leave(folder / ERROR, {"message": message, "hint": hint})
    return FAILED


def _limit(unpacked_bytes: int) -> None:
    """From here on this process cannot take more than reading an honest snapshot takes."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = min(_BASE_BYTES + _BYTES_PER_BYTE * unpacked_bytes, physical * 3 // 4)
    seconds = _BASE_CPU_S + unpacked_bytes // _CPU_BYTES_PER_S
    for kind, limit in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_STACK, _STACK_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _read(source: Path, folder: Path, rank: int, room: Room) -> dict[str, Any]:
    snapshot = _unpickled(source)
    losses = Losses()
    recorded = list(map(len, snapshot.traces))
    rows = write_tables(snapshot, folder, rank, room, losses)
    return {"settings": _settings(snapshot), "recorded": recorded, "rows": rows, "lost": losses.counts}


def _unpickled(source: Path) -> Snapshot:
    with source.open("rb") as file:
        try:
            snapshot = snapshot_of(safe_pickle.load(unpacked(file)))
        except UnreadableInput as error:
            raise UnreadableInput(f"{source} cannot be read: {error.message}", error.hint) from None
    if not snapshot.segments and not any(snapshot.traces):
        raise UnreadableInput(
            f"{source} is empty: it holds no segment and no event of a CUDA device",
            "record where CUDA memory is used, after torch.cuda.memory._record_memory_history()",
        )
    return snapshot


def _settings(snapshot: Snapshot) -> dict[str, Any]:
    """The allocator's settings, if they are as small as settings are."""
    text = ""
    try:
        for part in json.JSONEncoder().iterencode(snapshot.settings):
            text += part
            if len(text) > _SETTINGS_CHARS:
                raise WrongShape("allocator_settings are larger than settings can be")
        settings: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise WrongShape("allocator_settings are not plain settings") from None
    return settings


if __name__ == "__main__":
    code = main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    # Freeing millions of objects one by one would take as long as making them.
    os._exit(code)

"""A word on stderr before a wait: a large snapshot that was never read before takes seconds."""

from __future__ import annotations

import sys
from pathlib import Path

from profiler.rundir import layout

# Compressed. 360,000 events are 2 MiB, and took 2 s.
_LARGE_BYTES = 1 << 20


def say_if_long(run: Path, artifact: str = layout.MEMORY, rank: int = 0) -> None:
    """Say that `artifact` will be read now, where it is large and no table of it is kept."""
    path = layout.rank_dir(run, rank) / artifact
    kept = run / layout.CACHE_DIR / f"{artifact.partition('.')[0]}-rank{rank}"
    if not kept.exists() and path.is_file() and path.stat().st_size >= _LARGE_BYTES:
        size = path.stat().st_size / (1 << 20)
        print(f"reading {path} ({size:.1f} MiB) for the first time; its tables are kept in {kept.parent}", file=sys.stderr)

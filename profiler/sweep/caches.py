"""Compile caches that the cells of a sweep share, and what each cell got out of them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from profiler.rundir import layout

SHARED, COLD = "shared", "cold"
CHOICES = (SHARED, COLD)
_TRITON = "triton"


def cache_environment(folder: Path) -> dict[str, str]:
    """Variables that put every cache of torch's compiler below one folder.

    Args:
        folder: absolute, and on the machine that compiles; it need not exist.
    """
    return {
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / _TRITON),
        # Both are torch's defaults; a user's own setting must not make cells of one sweep differ.
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "1",
    }


def count_kernels(folder: Path) -> int:
    """Kernels in the Triton cache below a folder: one directory each."""
    try:
        return sum(1 for each in (folder / _TRITON).iterdir() if each.is_dir())
    except OSError:
        return 0


def cache_counts(run: Path, kernels_before: int, folder: Path) -> dict[str, Any] | None:
    """What the caches did in a run: hits, misses and bypasses as it counted them, and the Triton kernels that it added.

    None where nothing was compiled. Where several cells use one folder, `triton_added` is what all of them added meanwhile.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        applied = json.loads((run / layout.MANIFEST).read_text()).get("applied") or {}
        counts = applied.get("caches")
        if isinstance(counts, dict) and applied.get("graphs"):
            return {**counts, "triton_added": count_kernels(folder) - kernels_before}
    return None

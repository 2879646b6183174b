"""Traces by torch.profiler: the priced one (no stacks), and the one with stacks that only names places."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


def _profile(device: str, **options: Any) -> Any:
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    return profile(activities=activities, **options)


@contextmanager
def tracing(device: str, *, stacks: bool = False, memory: bool = False) -> Iterator[Any]:
    """Profile what happens inside; yields the profiler, to be given to `save_trace` afterwards.

    Shapes are recorded with the priced trace; stacks cost more than the rest together, so they go without shapes.
    """
    with _profile(device, record_shapes=not stacks, with_stack=stacks, profile_memory=memory) as profiler:
        yield profiler


def save_trace(profiler: Any, path: Path) -> None:
    """Write the Kineto JSON; `path` ends in .json.gz."""
    # Packed here: torch packs line by line at gzip's highest level, which takes six times as long to save a tenth of the bytes.
    with tempfile.NamedTemporaryFile(suffix=".json") as plain:
        profiler.export_chrome_trace(plain.name)
        with Path(plain.name).open("rb") as source, gzip.open(path, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(source, packed, _CHUNK_BYTES)


def warm_up_profiler(device: str) -> None:
    """Profile nothing once: the first profile of a process loads CUPTI and would put that time into the trace."""
    if device == "cuda":
        with _profile(device):
            import torch

            torch.cuda.synchronize()

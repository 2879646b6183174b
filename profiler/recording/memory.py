"""CUDA memory history: on from before the load, so that blocks keep their frames; off while timing."""

from __future__ import annotations

import gzip
import inspect
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Events kept by the allocator's ring buffer; a Flux load is 4 thousand, four eager steps 50 thousand.
MAX_ENTRIES = 1_000_000


class MemoryHistory:
    """The allocator's history of one process; does nothing without CUDA."""

    def __init__(self, device: str) -> None:
        self.possible = device == "cuda"
        self.on = False
        self._kept = 0

    def start(self) -> None:
        """Record allocations with Python stacks from now on."""
        if not self.possible or self.on:
            return
        import torch

        record = torch.cuda.memory._record_memory_history
        wanted = {"compile_context": True, "global_record_annotations": True}
        known = inspect.signature(record).parameters
        record(
            enabled="all",
            context="all",
            stacks="python",
            max_entries=MAX_ENTRIES,
            **{k: v for k, v in wanted.items() if k in known},
        )
        self.on = True

    def stop(self) -> None:
        """Record nothing from now on; blocks that live keep the frames they have."""
        if not self.on:
            return
        import torch

        torch.cuda.memory._record_memory_history(enabled=None)
        self.on = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Off inside, as before afterwards."""
        was = self.on
        self.stop()
        try:
            yield
        finally:
            if was:
                self.start()

    def save(self, path: Path) -> None:
        """Write the snapshot (a gzipped pickle of builtin containers); with the history off it holds what lives, no events."""
        import torch

        snapshot = torch.cuda.memory._snapshot()
        self._kept = max(map(len, snapshot["device_traces"]), default=0)
        with gzip.open(path, "wb", compresslevel=6) as file:
            pickle.dump(snapshot, file, protocol=4)

    @property
    def extent(self) -> dict[str, int]:
        """Events in the snapshot saved last (of the device that has most), and how many the ring buffer holds."""
        return {"events": self._kept, "max_entries": MAX_ENTRIES}

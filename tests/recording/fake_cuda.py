"""A CUDA allocator for tests on a CPU: the few calls that a recording makes of it, in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch


class FakeAllocator:
    """Blocks by address, events while the history is on, and what each call of the recording left behind."""

    def __init__(self) -> None:
        self.recording = False
        self.metadata = ""
        self.seen: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.blocks = {0x1000: (512, 500), 0x2000: (1 << 20, 1 << 20)}
        self.workspaces = {0x9000: (8_520_192, 8_519_680), 0xA000: (1024, 1000)}
        self.before_snapshot: Callable[[], None] = lambda: None

    def record(
        self,
        enabled: str | None = "all",
        context: str | None = "all",
        stacks: str = "all",
        max_entries: int = 1,
        compile_context: bool = False,
        global_record_annotations: bool = False,
    ) -> None:
        self.recording = enabled is not None
        self.events = []

    def allocate(self, size: int) -> None:
        if self.recording:
            self.events.append({"action": "alloc", "size": size, "user_metadata": self.metadata})

    def set_metadata(self, text: str) -> None:
        self.metadata = text
        self.seen.append(text)

    def snapshot(self, *_: Any) -> dict[str, Any]:
        self.before_snapshot()
        return {"segments": self.segments(), "device_traces": [list(self.events), []], "allocator_settings": {}}

    def segments(self, *_: Any) -> list[dict[str, Any]]:
        blocks = [
            {"address": address, "size": size, "requested_size": asked, "state": "active_allocated"}
            for address, (size, asked) in (self.blocks | self.workspaces).items()
        ]
        return [{"blocks": blocks[:1]}, {"blocks": [*blocks[1:], {"address": 0xF000, "size": 2, "state": "inactive"}]}]

    def stats(self, *_: Any) -> dict[str, int]:
        sizes = list((self.blocks | self.workspaces).values())
        return {
            "allocated_bytes.all.current": sum(size for size, _ in sizes),
            "requested_bytes.all.current": sum(asked for _, asked in sizes),
        }

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put this allocator in torch's place."""
        for name in ("synchronize", "reset_peak_memory_stats"):
            patch.setattr(torch.cuda, name, lambda: None)
        patch.setattr(torch.cuda, "memory_stats", self.stats)
        patch.setattr(torch.cuda, "memory_snapshot", self.segments)
        patch.setattr(torch.cuda.memory, "_record_memory_history", self.record)
        patch.setattr(torch.cuda.memory, "_snapshot", self.snapshot)
        patch.setattr(torch.cuda.memory, "_set_memory_metadata", self.set_metadata)
        patch.setattr(torch.cuda.memory, "_get_memory_metadata", lambda: self.metadata)
        patch.setattr(torch._C, "_cuda_clearCublasWorkspaces", self.workspaces.clear, raising=False)
        patch.setattr("profiler.recording.stage.sample_gpu", lambda _device: None)

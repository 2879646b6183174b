"""What a CUDA recording keeps of the allocator: history, losses, workspaces, and the snapshot of a run out of memory."""

from __future__ import annotations

import gzip
import pickle
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cuda import FakeAllocator
from torch import nn

from profiler.core.spec import RunSpec
from profiler.recording import memory, phases
from profiler.recording.calls import PipelineCall
from profiler.recording.memory_workspaces import free_workspaces
from profiler.recording.runner import start_manifest
from profiler.recording.stage import Stage
from profiler.rundir.reader import read_manifest
from profiler.rundir.writer import RunWriter


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> FakeAllocator:
    made = FakeAllocator()
    made.install(monkeypatch)
    return made


@pytest.fixture
def stage(tmp_path: Path, allocator: FakeAllocator) -> Stage:
    writer = RunWriter(tmp_path / "run", start_manifest(RunSpec(model="mine"), "test"))
    return Stage(writer, "cuda", say=lambda _line: None)


class Pipe:
    """One module, which allocates 640 bytes of the fake device in each call."""

    def __init__(self, allocator: FakeAllocator) -> None:
        self.transformer = nn.Sequential(nn.Linear(2, 2))
        self.transformer[0].register_forward_hook(lambda *_: allocator.allocate(640))
        self.components = {"transformer": self.transformer}

    def __call__(self) -> Any:
        return self.transformer(torch.ones(1, 2))


def call_of(pipe: Any) -> PipelineCall:
    return PipelineCall(pipe, lambda _steps: {}, 1, "cuda")


def saved(stage: Stage, name: str = "memory.pickle.gz") -> dict[str, Any]:
    with gzip.open(stage.folder / name) as file:
        found: dict[str, Any] = pickle.load(file)
    return found


def test_the_memory_phase_keeps_events_with_their_module(stage: Stage, allocator: FakeAllocator):
    phases.record_memory(stage, call_of(Pipe(allocator)), 1)
    assert saved(stage)["device_traces"] == [[{"action": "alloc", "size": 640, "user_metadata": "transformer.0"}], []]
    phase = stage.manifest.phase("memory")
    assert phase is not None
    assert phase.detail == {"events": 1, "max_entries": memory.MAX_ENTRIES, "compiled_graphs": 0}
    assert (stage.history.on, allocator.recording, allocator.metadata) == (False, False, "")
    assert stage.manifest.lost == []


def test_an_older_torch_loses_the_modules_and_says_so(stage: Stage, allocator: FakeAllocator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(torch.cuda.memory, "_set_memory_metadata")
    phases.record_memory(stage, call_of(Pipe(allocator)), 1)
    assert saved(stage)["device_traces"][0] == [{"action": "alloc", "size": 640, "user_metadata": ""}]
    assert [each.what for each in stage.manifest.lost] == ["modules of allocations"]


def test_a_full_ring_buffer_is_a_loss(stage: Stage, allocator: FakeAllocator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "MAX_ENTRIES", 2)
    stage.history.start()
    for _ in range(2):
        allocator.allocate(1)
    with stage.phase("warmup"):
        pass
    phases.after_warm_up(stage, None)
    assert stage.manifest.phases[-1].detail == {"events": 2, "max_entries": 2}
    (lost,) = stage.manifest.lost
    assert (lost.what, "2 events" in lost.why) == ("rank0/memory_load.pickle.gz", True)


def test_workspaces_are_what_freeing_them_frees(stage: Stage, allocator: FakeAllocator):
    phases.record_memory(stage, call_of(Pipe(allocator)), 1)
    phases.note_workspaces(stage)
    phase = stage.manifest.phase("memory")
    assert phase is not None
    assert phase.detail["cublas_workspace_bytes"] == 8_520_192 + 1024
    assert phase.detail["cublas_workspace_requested_bytes"] == 8_519_680 + 1000
    assert phase.detail["cublas_workspaces"] == [
        {"address": 0x9000, "bytes": 8_520_192, "requested_bytes": 8_519_680},
        {"address": 0xA000, "bytes": 1024, "requested_bytes": 1000},
    ]
    # They were held while the snapshot was taken.
    addresses = [block["address"] for segment in saved(stage)["segments"] for block in segment["blocks"]]
    assert {0x9000, 0xA000} <= set(addresses)


def test_a_torch_that_cannot_free_workspaces_measures_none(allocator: FakeAllocator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(torch._C, "_cuda_clearCublasWorkspaces")
    assert free_workspaces() == {}


def test_without_a_memory_phase_no_workspace_is_freed(stage: Stage, allocator: FakeAllocator):
    phases.note_workspaces(stage)
    assert len(allocator.workspaces) == 2


class Greedy(nn.Module):
    """Runs out of memory while it holds a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.held: weakref.ref[torch.Tensor] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        activation = x + 1
        self.held = weakref.ref(activation)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16.00 GiB.")


class GreedyPipe:
    def __init__(self) -> None:
        self.transformer = Greedy()
        self.components = {"transformer": self.transformer}

    def __call__(self) -> Any:
        return self.transformer(torch.ones(1, 2))


@pytest.mark.parametrize("history", [True, False], ids=["history on before", "history off"])
def test_out_of_memory_in_the_timed_phase_keeps_what_lived(stage: Stage, allocator: FakeAllocator, history: bool):
    if history:
        stage.history.start()
        allocator.allocate(5)
    pipe, alive = GreedyPipe(), []

    def look() -> None:
        assert pipe.transformer.held is not None
        alive.append(pipe.transformer.held() is not None)

    allocator.before_snapshot = look
    error: BaseException | None = None
    try:
        phases.time_calls(stage, call_of(pipe), 1)
    except torch.OutOfMemoryError as caught:
        error = caught
    assert stage.close(error) == "oom"
    assert alive == [True]
    snapshot = saved(stage)
    assert snapshot["device_traces"] == [[], []]
    assert [block["address"] for segment in snapshot["segments"] for block in segment["blocks"]][:2] == [0x1000, 0x2000]
    manifest = read_manifest(stage.writer.path)
    assert (manifest.status, manifest.open_phase) == ("oom", "timed")
    assert manifest.phases[-1].detail == {"events": 0, "max_entries": memory.MAX_ENTRIES}
    assert "rank0/memory.pickle.gz" in manifest.artifacts


def test_out_of_memory_in_the_memory_phase_keeps_its_events_and_clears_the_metadata(stage: Stage, allocator: FakeAllocator):
    pipe = Pipe(allocator)
    pipe.transformer.append(Greedy())
    error: BaseException | None = None
    try:
        phases.record_memory(stage, call_of(pipe), 1)
    except torch.OutOfMemoryError as caught:
        error = caught
    assert allocator.metadata == ""
    assert stage.close(error) == "oom"
    assert [each["user_metadata"] for each in saved(stage)["device_traces"][0]] == ["transformer.0"]
    assert stage.manifest.phases[-1].detail["events"] == 1


def test_another_end_leaves_no_snapshot(stage: Stage, allocator: FakeAllocator):
    stage.history.start()
    assert stage.close(ArithmeticError("no")) == "failed"
    assert not (stage.folder / "memory.pickle.gz").exists()
    assert not allocator.recording

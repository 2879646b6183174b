"""The stage: a run directory being recorded, phase by phase, with what the run's end looks like however it ends."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from profiler.core.units import format_ms, format_size
from profiler.recording.compile_log import CompileLog, fx_graph_keys
from profiler.recording.device import memory_counters, reset_peaks, sample_gpu, synchronize
from profiler.recording.memory import MemoryHistory
from profiler.rundir import layout
from profiler.rundir.manifest import Failure, Phase
from profiler.rundir.writer import RunWriter


class Stage:
    """Opens phases, writes artifacts and seals the run.

    Args:
        writer: the run directory.
        device: "cuda" or "cpu".
        say: prints one line of progress.
        rank: of this process.
        line_up: waits for the other ranks; called before each call that is timed or recorded, outside of its window.
    """

    def __init__(
        self,
        writer: RunWriter,
        device: str,
        say: Callable[[str], None] | None = None,
        rank: int = 0,
        line_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.writer = writer
        self.manifest = writer.manifest
        self.device = device
        self.rank = rank
        self.line_up = line_up
        self.folder = layout.rank_dir(writer.path, rank)
        self.folder.mkdir(exist_ok=True)
        self.history = MemoryHistory(device)
        self.compile_log = CompileLog(self.folder / layout.COMPILE_LOG_DIR)
        self._say = say or _to_stderr

    def name(self, file: str) -> str:
        """The artifact name of a file of this rank."""
        return f"{self.folder.name}/{file}"

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """One phase: its times, its own memory peaks, and the device's clocks right after it."""
        self._say(f"{name:<9} ...")
        synchronize(self.device)
        reset_peaks(self.device)
        phase = Phase(name=name, start_ns=time.time_ns())
        self.manifest.phases.append(phase)
        self.writer.flush()
        try:
            yield phase
        finally:
            for key, value in memory_counters(self.device).items():
                setattr(phase, key, value)
        synchronize(self.device)
        phase.end_ns = time.time_ns()
        phase.gpu = sample_gpu(self.device)
        self.writer.flush()
        self._say(f"{name:<9} {format_ms((phase.end_ns - phase.start_ns) / 1e6):>12}  {_memory(phase)}")

    @contextmanager
    def nothing_recorded(self) -> Iterator[None]:
        """No memory history and no log handler inside: what is timed here is the program alone."""
        with self.history.paused(), self.compile_log.paused():
            yield

    def save(self, file: str, write: Callable[[Path], None]) -> bool:
        """Write one artifact of this rank; a failure to write is noted as lost and the run goes on."""
        return self.writer.try_artifact(self.name(file), write)

    def save_history(self, file: str) -> None:
        """Write the allocator's snapshot; the phase that it ends with says how much of the history is kept."""
        if not self.save(file, self.history.save):
            return
        extent = self.history.extent
        for phase in self.manifest.phases[-1:]:
            phase.detail |= extent
        if extent["events"] >= extent["max_entries"]:
            self.manifest.lose(
                self.name(file), f"the ring buffer of {extent['max_entries']} events was full: the oldest are gone"
            )

    def close(self, error: BaseException | None) -> str:
        """Save what is at hand, note the error, seal; returns the status."""
        # A recording that lost artifacts for want of room is none to trust: it ends as failed, with what it has.
        error = error or self.writer.disk_error
        status = "ok" if error is None else status_of(error)
        if error is not None:
            self.manifest.failure = describe(error, self.manifest.open_phase)
        # While `error` is held, so are the tensors of the call that failed: they are what filled the memory.
        if status == "oom" and self.history.possible:
            self.save_history(layout.MEMORY)
        self.history.stop()
        self._close_compile_log()
        self.writer.seal(status)
        # Of several ranks another one's end may be the run's.
        return self.manifest.status

    def _close_compile_log(self) -> None:
        self.compile_log.close()
        folder = self.folder / layout.COMPILE_LOG_DIR
        if folder.is_dir():
            self.manifest.fx_graph_keys = fx_graph_keys(folder)
            self.writer.index_tree(self.name(layout.COMPILE_LOG_DIR))


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def status_of(error: BaseException) -> str:
    """The run status that an exception means."""
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return "interrupted"
    import torch

    allocator = "can't allocate memory" in str(error) or "out of memory" in str(error).lower()
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (isinstance(error, RuntimeError) and allocator):
        return "oom"
    return "failed"


def describe(error: BaseException, phase: str | None) -> Failure:
    """An exception as the manifest keeps it."""
    text = "".join(traceback.format_exception(error))
    message = str(error) or type(error).__name__
    return Failure(type=type(error).__name__, message=message, phase=phase, traceback=text)


def _memory(phase: Phase) -> str:
    if phase.alloc_bytes is None:
        return ""
    return f"{format_size(phase.alloc_bytes)} held, {format_size(phase.peak_bytes)} at peak"

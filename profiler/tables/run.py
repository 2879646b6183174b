"""`Run.open`: a run directory with its manifest and its tables, read when first asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from profiler.core.errors import UnreadableInput
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.reader import read_manifest
from profiler.tables.snapshot import SnapshotTables, open_snapshot
from profiler.tables.trace import TraceTables, open_trace

if TYPE_CHECKING:
    from profiler.tables.compile_log import CompileLog


class Run:
    """One run directory, for reading.

    Args:
        path: the directory.
        manifest: its `run.json`.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._traces: dict[tuple[str, int], TraceTables] = {}
        self._compile_logs: dict[int, CompileLog] = {}
        self._snapshots: dict[tuple[str, int], SnapshotTables] = {}

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a run directory, whole or not.

        Raises:
            UnreadableInput: no run directory, or a manifest that cannot be read.
        """
        return cls(Path(path), read_manifest(Path(path)))

    @property
    def ranks(self) -> list[int]:
        """The processes that left artifacts, by rank."""
        return layout.rank_numbers(self.path)

    def has(self, artifact: str, rank: int = 0) -> bool:
        """Whether the file `artifact` (a name of `layout`) is there for `rank`."""
        return self.artifact(artifact, rank).exists()

    def artifact(self, artifact: str, rank: int = 0) -> Path:
        """Where the file `artifact` of `rank` lies, or would lie."""
        return layout.rank_dir(self.path, rank) / artifact

    def trace(self, rank: int = 0, artifact: str = layout.TRACE) -> TraceTables:
        """The tables of a rank's trace (`layout.TRACE`, or `layout.PLACES` for the one with stacks).

        Raises:
            UnreadableInput: the artifact is missing or cannot be read.
        """
        key = (artifact, rank)
        if key not in self._traces:
            path = self.artifact(artifact, rank)
            if not path.exists():
                raise self.lacks(path, self._without_trace)
            self._traces[key] = open_trace(path, self.path / layout.CACHE_DIR, rank)
        return self._traces[key]

    def compile_log(self, rank: int = 0) -> CompileLog:
        """The tables of a rank's compile log.

        Raises:
            UnreadableInput: there is none, or it cannot be read.
        """
        if rank not in self._compile_logs:
            folder = self.artifact(layout.COMPILE_LOG_DIR, rank)
            if not folder.exists():
                raise self.lacks(folder, "record it compiled, or import its log with --compile-log")
            # Its parser takes longer to load than many a table to read, and most questions need no compile log.
            from profiler.tables.compile_log import open_compile_log

            self._compile_logs[rank] = open_compile_log(folder, self.path / layout.CACHE_DIR, rank)
        return self._compile_logs[rank]

    def snapshot(self, rank: int = 0, artifact: str = layout.MEMORY) -> SnapshotTables:
        """The tables of a rank's CUDA memory snapshot (`layout.MEMORY`, or `layout.MEMORY_LOAD` for load to warm-up).

        Raises:
            UnreadableInput: there is none, or it cannot be read.
        """
        key = (artifact, rank)
        if key not in self._snapshots:
            path = self.artifact(artifact, rank)
            if not path.exists():
                raise self.lacks(path, "record it on a CUDA device, or import a snapshot with --memory")
            self._snapshots[key] = open_snapshot(path, self.path / layout.CACHE_DIR, rank)
        return self._snapshots[key]

    def lacks(self, path: Path, hint: str) -> UnreadableInput:
        """The error for a file of the run that is not there, and what to do about it: of a sweep, name a run that lies in it."""
        if self.manifest.kind == "sweep":
            return UnreadableInput(
                f"{self.path} is a sweep: its runs lie in it", f"name a cell: {self.path}/CELL (diffuscope runs {self.path})"
            )
        return UnreadableInput(f"{self.path} holds no {path.relative_to(self.path)}", hint)

    @property
    def _without_trace(self) -> str:
        """What to do about a trace that is not there: where the run failed, why it is not."""
        if self.manifest.failure is None:
            return "record it again, or import the trace"
        first = self.manifest.failure.message.partition("\n")[0]
        return f"it ended as {self.manifest.status}: {first} (diffuscope show {self.path})"

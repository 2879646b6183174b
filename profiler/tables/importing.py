"""Filing a trace, a memory snapshot and a compile log recorded elsewhere into a run directory."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from isal import igzip

from profiler.core.errors import DiffuscopeError, UnreadableInput, UsageError
from profiler.rundir import layout
from profiler.rundir.manifest import Failure, Manifest
from profiler.rundir.writer import NO_ROOM, RunWriter
from profiler.tables import inputs, logfiles, snapshot
from profiler.tables.run import Run

_GZIP_MAGIC = b"\x1f\x8b"
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What to file; at least one of the three files.

    Args:
        compile_log: a file, a folder, or a tar or zip archive of one.
        timed_ms: the untraced wall of the traced window, > 0.
    """

    trace: Path | None = None
    memory: Path | None = None
    compile_log: Path | None = None
    timed_ms: float | None = None

    @property
    def stem(self) -> str:
        """A name for the run made of the first input's."""
        first = next(each for each in (self.trace, self.memory, self.compile_log) if each is not None)
        return first.name.partition(".")[0] or "files"


def check(given: Inputs) -> None:
    """Refuse what cannot be filed, before anything is written.

    Raises:
        UsageError: nothing given, or no time that can be meant.
        UnreadableInput: a file that is not what it is given as.
    """
    if given.trace is None and given.memory is None and given.compile_log is None:
        raise UsageError("nothing to import", "give a TRACE, --memory SNAPSHOT or --compile-log PATH")
    if given.timed_ms is not None and not 0 < given.timed_ms < float("inf"):
        raise UsageError(
            f"--timed-ms {given.timed_ms} is no duration", "give the milliseconds that the traced window takes untraced"
        )
    if given.trace is not None:
        inputs.check_trace(given.trace)
    if given.memory is not None:
        snapshot.check_snapshot(given.memory)
    if given.compile_log is not None:
        logfiles.list_log(given.compile_log)


def import_files(given: Inputs, out: Path, command: str = "") -> Run:
    """Check the inputs, file them into the new directory `out` as rank 0, and read the trace into the cache.

    The bytes of gzipped files are kept as they are; plain ones are gzipped.

    Raises:
        UsageError, UnreadableInput: see `check`, or `out` exists.
    """
    check(given)
    untraced = {"dur_ns": round(given.timed_ms * 1e6)} if given.timed_ms is not None else {}
    writer = RunWriter(out, Manifest(kind="import", command=command, untraced=untraced))
    try:
        _file_all(given, writer)
        run = Run(out, writer.manifest)
        if given.trace is not None:
            writer.manifest.environment = environment_of(run.trace().metadata)
    except BaseException as error:
        seal_failed(writer, error)
        if isinstance(error, OSError):
            hint = "free some space and import again" if error.errno in NO_ROOM else "give files of other names, or another -o"
            raise UnreadableInput(f"cannot file into {out}: {error.strerror or error}", hint) from error
        raise
    writer.seal("ok")
    return run


def _file_all(given: Inputs, writer: RunWriter) -> None:
    for source, name in ((given.trace, layout.TRACE), (given.memory, layout.MEMORY)):
        if source is not None:
            with source.open("rb") as file, writer.artifact(_ranked(name)) as target:
                copy_gzipped(file, target)
    if given.compile_log is not None:
        for each, stream in logfiles.read_log(given.compile_log):
            with writer.artifact(_ranked(f"{layout.COMPILE_LOG_DIR}/{each.name}")) as target, target.open("wb") as out:
                shutil.copyfileobj(stream, out, _COPY_BYTES)


def _ranked(name: str) -> str:
    return (layout.rank_dir(Path(), 0) / name).as_posix()


def copy_gzipped(source: IO[bytes], target: Path) -> None:
    """The bytes of a gzipped file as they are; plain ones gzipped."""
    packed = source.read(2) == _GZIP_MAGIC
    source.seek(0)
    with target.open("wb") if packed else igzip.open(target, "wb") as out:
        shutil.copyfileobj(source, out, _COPY_BYTES)


def seal_failed(writer: RunWriter, error: BaseException) -> None:
    """The last word on an import that ended early."""
    message = error.message if isinstance(error, DiffuscopeError) else str(error)
    writer.manifest.failure = Failure(type=type(error).__name__, message=message)
    # A disk that takes no manifest either: the error on its way up says so already.
    with contextlib.suppress(OSError):
        writer.seal("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")


def environment_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """What a trace says of the machine that it comes from."""
    devices = metadata.get("deviceProperties")
    first = devices[0] if isinstance(devices, list) and devices and isinstance(devices[0], dict) else {}
    return {"gpu": {"name": str(first["name"]), "count": len(devices or [])}} if first.get("name") else {}

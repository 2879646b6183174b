"""Writing a run directory so that a kill at any moment leaves one that opens."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from profiler.core.errors import UsageError
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.processes import process_identity

__all__ = ["NO_ROOM", "RunWriter", "process_identity", "write_atomic"]

# Freed when the disk is full, so that the manifest can still say so.
_RESERVE_BYTES = 1 << 20
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomic(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: a reader sees the old file or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    # What lies there may be a link: what it leads to is not ours to write.
    partial.unlink(missing_ok=True)
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class RunWriter:
    """The one writer of a run directory.

    Args:
        path: the directory to create; one that exists is refused, so that nothing recorded is ever overwritten.
        manifest: what is known at the start; written at once.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise UsageError(f"{path} exists already", "name another directory with -o: a run is never overwritten") from None
        except OSError as error:
            raise UsageError(f"cannot create {path}: {error.strerror}", "name a writable place with -o") from None
        self.path = path
        self.manifest = manifest
        self.disk_error: OSError | None = None
        manifest.created_ns = manifest.created_ns or time.time_ns()
        try:
            self.keep_reserve()
            self.flush()
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            raise UsageError(f"cannot write to {path}: {error.strerror}", "name a place with room with -o") from None

    @property
    def reserve(self) -> Path:
        """The file that is given up for the last word when the disk is full."""
        return self.path / layout.RESERVE

    def keep_reserve(self) -> None:
        """Take the room for the last word."""
        self.reserve.write_bytes(os.urandom(_RESERVE_BYTES))

    def flush(self) -> None:
        """Write what is known as it stands; on a full disk the reserve is given up for it."""
        try:
            self.write_status()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self.reserve.unlink(missing_ok=True)
            self.write_status()

    def write_status(self) -> None:
        """Write `run.json`."""
        write_atomic(self.path / layout.MANIFEST, json.dumps(self.manifest.to_dict(), indent=1))

    @contextmanager
    def artifact(self, name: str) -> Iterator[Path]:
        """A path to write one artifact to; it takes its name only once it is whole, and then enters the index.

        Args:
            name: the path inside the run directory, for example `rank0/trace.json.gz`.
        """
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # The partial keeps the ending: libraries choose the format (.gz, .png, .mp4) by it.
        partial = target.with_name(f".partial.{target.name}")
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        self.index(name)

    def try_artifact(self, name: str, write: Callable[[Path], None]) -> bool:
        """Write one artifact; where the disk or the library fails, the loss is noted and the run goes on."""
        try:
            with self.artifact(name) as path:
                write(path)
        except (OSError, RuntimeError, ValueError, TypeError, ImportError) as error:
            self.manifest.lose(name, f"{type(error).__name__}: {error}")
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                self.disk_error = error
            return False
        finally:
            self.flush()
        return True

    def index(self, name: str) -> None:
        """Enter a finished file into the artifact index with its size and hash."""
        path = self.path / name
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.manifest.artifacts[name] = {"size_bytes": path.stat().st_size, "sha256": digest}

    def index_tree(self, name: str) -> None:
        """Enter every file below a folder that another writer filled (the compile log)."""
        for path in sorted((self.path / name).rglob("*")):
            if path.is_file():
                self.index(str(path.relative_to(self.path)))

    def seal(self, status: str) -> None:
        """The last write: the run's status; nothing of the writer's own stays behind."""
        self.manifest.status = status
        self.manifest.process = {}
        self.flush()
        self.reserve.unlink(missing_ok=True)

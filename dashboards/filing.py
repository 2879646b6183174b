"""Filing uploads into a run of the folder: in a child process, out of sight, and under its name only once it is whole."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dashboards import uploads
from dashboards.uploads import Upload
from profiler.core.errors import UnreadableInput, UsageError
from profiler.rundir import layout
from profiler.rundir.reader import is_run
from profiler.tables.importing import Inputs

_POLL_S = 0.1
# Nothing that lies in the working directory can be imported in place of a library.
_BOOT = "import sys, runpy; sys.path.append(sys.argv.pop(1)); runpy.run_module('dashboards.filing_child', run_name='__main__')"
_STAGED = "run"
_REQUEST, _ANSWER = "request.json", "answer.json"
_DISTRUST = "do not trust this file; record it again"


class Filing:
    """One import into a folder of runs.

    Args:
        folder: where the run will lie.
        staging: a folder inside it, on the same disk, that is gone afterwards; nothing of it looks like a run.
    """

    def __init__(self, folder: Path, staging: Path) -> None:
        self.folder = folder
        self.staging = staging
        self.given = Inputs()

    def save(self, trace: Upload | None, memory: Upload | None, logs: Sequence[Upload], timed_ms: float | None) -> None:
        """Take what was sent.

        Raises:
            UsageError: that was nothing.
            UnreadableInput: a file larger than the limit, or no room on the disk.
        """
        if not (trace or memory or logs):
            raise UsageError("There is nothing to import yet", "drop a trace, a memory snapshot or a compile log")
        self.given = uploads.save(self.staging, trace, memory, logs, timed_ms)

    def stages(self) -> Iterator[str]:
        """Import it; what is being done, as long as it lasts.

        Raises:
            UnreadableInput, UsageError: see `profiler.tables.importing.import_files`, or reading takes more than it may.
        """
        with (self.staging / "stderr").open("wb") as stderr:
            child = self._start(stderr)
            try:
                while child.poll() is None:
                    yield self._stage()
                    time.sleep(_POLL_S)
            finally:
                if child.poll() is None:
                    # Nobody waits for the answer any more. The child's own child goes too.
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self._take(child.returncode)

    def keep(self, name: str = "") -> str:
        """Give the run a free name in the folder, made of `name` or of the first file's; returns it."""
        stem = uploads.harmless(name) if name.strip() else f"import-{self.given.stem}"
        path, number = self.folder / stem, 2
        while True:
            try:
                if not path.exists():
                    (self.staging / _STAGED).rename(path)
                    return path.name
            except OSError as error:
                if not path.exists():
                    raise UnreadableInput(f"cannot write to {self.folder}: {error.strerror}", "check its permissions") from None
            path, number = self.folder / f"{stem}-{number}", number + 1

    def _start(self, stderr: Any) -> subprocess.Popen[bytes]:
        given = {key: str(path) if (path := getattr(self.given, key)) else None for key in ("trace", "memory", "compile_log")}
        request = {**given, "timed_ms": self.given.timed_ms, "out": str(self.staging / _STAGED), "command": self._command()}
        (self.staging / _REQUEST).write_text(json.dumps(request), encoding="utf-8")
        paths = (self.staging / _REQUEST, self.staging / _ANSWER)
        arguments = [sys.executable, "-P", "-c", _BOOT, str(Path(__file__).parents[1]), *map(str, paths)]
        nothing = subprocess.DEVNULL
        return subprocess.Popen(arguments, stdin=nothing, stdout=nothing, stderr=stderr, start_new_session=True)

    def _command(self) -> str:
        """The command that does the same."""
        words = ["diffuscope", "import", *([self.given.trace.name] if self.given.trace else [])]
        for option, path in (("--memory", self.given.memory), ("--compile-log", self.given.compile_log)):
            words += [option, path.name] if path else []
        return shlex.join([*words, *(["--timed-ms", f"{self.given.timed_ms:g}"] if self.given.timed_ms else [])])

    def _stage(self) -> str:
        run = self.staging / _STAGED
        if not is_run(run):
            return "Checking that the files are what they should be"
        trace = layout.rank_dir(run) / layout.TRACE
        waits_for_log = self.given.compile_log and not (layout.rank_dir(run) / layout.COMPILE_LOG_DIR).is_dir()
        if self.given.trace and trace.is_file() and not waits_for_log:
            return f"Reading the trace ({trace.stat().st_size / 2**20:,.1f} MiB, compressed)"
        return "Filing them into a run directory"

    def _take(self, code: int) -> None:
        """Raise what the child ran into."""
        path = self.staging / _ANSWER
        if not path.is_file():
            raise UnreadableInput(f"The files cannot be read: {_why(code, self.staging / 'stderr')}", _DISTRUST)
        answer = json.loads(path.read_text(encoding="utf-8"))
        if answer.get("message"):
            raise UnreadableInput(self._plain(answer["message"]), self._plain(answer["hint"]))

    def _plain(self, text: str) -> str:
        """A message with the names that were sent, without the folder that they lie in for now."""
        for place in (self.staging / "trace", self.staging / "memory", self.staging / "logs", self.staging):
            text = text.replace(f"{place}{os.sep}", "")
        return text.replace(str(self.staging), "the run")


@contextmanager
def filing(folder: Path) -> Iterator[Filing]:
    """An import into `folder`; whatever happens, nothing half done stays there.

    Raises:
        UsageError: the folder is none, is itself a run, or cannot be written to.
    """
    if is_run(folder):
        raise UsageError(
            f"{folder} is one run, and takes no other", f"show the folder around it: diffuscope dashboard {folder.parent}"
        )
    try:
        # Absolute: messages name files so, and lose the folder before anybody sees them.
        staging = Path(tempfile.mkdtemp(prefix=".import-", dir=folder.absolute()))
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}", "check its permissions") from None
    try:
        yield Filing(folder, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _why(code: int, stderr: Path) -> str:
    if code == -signal.SIGXCPU:
        return "reading them takes longer than it may"
    last = stderr.read_bytes()[-1000:].decode("utf-8", "replace").strip().splitlines()
    told = f" ({last[-1][:200]!r})" if last else ""
    if code >= 0:
        return f"the process that reads them failed{told}"
    return f"the process that reads them was killed by {signal.Signals(-code).name}{told}"

"""Holistic Trace Analysis (HTA) of a run's traces: in a child process, kept beside the run, one rank in memory at a time."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from profiler.core.errors import MissingExtra, UnreadableInput, UsageError
from profiler.rundir import layout
from profiler.rundir.shape import build
from profiler.tables import cache
from profiler.tables.hta_answer import ANALYSES, SETTINGS, Found, spoken
from profiler.tables.run import Run

EXTRA, PACKAGE = "hta", "traceinsight"
DEFAULT_LIMIT_S = 900
_POLL_S = 0.1
# Raised when an analysis gives other columns.
_FORM = 1
_KEPT = "results.json"
# Nothing that lies in the working directory can be imported in place of a library.
_BOOT = "import sys, runpy; sys.path.append(sys.argv.pop(1)); runpy.run_module('profiler.tables.hta_child', run_name='__main__')"
_WORDS = "name some of: " + ", ".join(ANALYSES)

Todo = dict[int, list[str]]
"""Analyses still to run, by rank."""


@dataclass(frozen=True)
class Limits:
    """What running HTA may take: seconds for everything together, and bytes at any time (0: three quarters of this machine's)."""

    seconds: float = DEFAULT_LIMIT_S
    memory_bytes: int = 0

    @property
    def most_bytes(self) -> int:
        """The bytes, never more than three quarters of the machine's."""
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4
        return min(self.memory_bytes or most, most)


class Hta:
    """HTA's analyses of a run.

    Args:
        run: the run; every rank with a trace is read unless `ranks` says which.
        analyses: names of `ANALYSES`; none: all.

    Raises:
        MissingExtra: HTA is not installed.
        UsageError: no such analysis or rank, or a pandas on which HTA does not work.
        UnreadableInput: the run holds no trace.
    """

    def __init__(self, run: Run, analyses: Sequence[str] = (), ranks: Sequence[int] = (), limits: Limits | None = None) -> None:
        self.version = version()
        self.run, self.limits = run, limits or Limits()
        unknown = [name for name in analyses if name not in ANALYSES]
        if unknown:
            raise UsageError(f"HTA has no analysis called {unknown[0]!r}", _WORDS)
        self.analyses = [name for name in ANALYSES if not analyses or name in analyses]
        self.ranks = _chosen(run, ranks)
        self.unread: dict[int, str] = {}
        self._found = {rank: self._kept(rank) for rank in self.ranks}

    @property
    def complete(self) -> bool:
        """Whether everything is there without running HTA."""
        return not self._todo()

    def results(self) -> list[Found]:
        """What was found so far, by rank; of ranks that HTA cannot read see `unread`."""
        return [of[name] for of in self._found.values() for name in self.analyses if name in of]

    def stages(self) -> Iterator[str]:
        """Run what is not kept yet; says what is being done, as long as it lasts. A failed analysis is a result too."""
        until = time.monotonic() + self.limits.seconds
        before = {rank: len(of) for rank, of in self._found.items()}
        try:
            with tempfile.TemporaryDirectory(prefix="diffuscope-hta-") as folder:
                while todo := self._todo():
                    yield from self._round(Path(folder), todo, until)
        finally:
            # Also where nobody waits any more.
            for rank, count in before.items():
                if len(self._found[rank]) > count:
                    self._keep(rank)

    def _todo(self) -> Todo:
        left = {
            rank: [name for name in self.analyses if name not in of]
            for rank, of in self._found.items()
            if rank not in self.unread
        }
        return {rank: names for rank, names in left.items() if names}

    def _round(self, folder: Path, todo: Todo, until: float) -> Iterator[str]:
        """One child. Where it died, what it was at has failed, and the next child does the rest."""
        answer, request = folder / "answer.jsonl", folder / "request.json"
        answer.write_bytes(b"")
        request.write_text(json.dumps(self._request(todo, until)), encoding="utf-8")
        told = 0
        at: tuple[int, str | None] = (next(iter(todo)), None)
        with (folder / "stderr").open("w+b") as stderr:
            child = _start(folder, request, answer, stderr)
            try:
                while True:
                    over = child.poll() is not None
                    lines = answer.read_text(encoding="utf-8").split("\n")[:-1]
                    for line in lines[told:]:
                        at = self._take(json.loads(line), at)
                    told = len(lines)
                    if over or time.monotonic() > until:
                        break
                    yield spoken(*at)
                    time.sleep(_POLL_S)
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            if not over:
                self._give_up(f"not done within {self.limits.seconds:g} s; give it more with --time-limit")
            elif child.returncode != 0:
                self._failed(*at, _why(child.returncode, stderr))
            elif self._todo():
                self._give_up("the process that runs HTA ended early")

    def _request(self, todo: Todo, until: float) -> dict[str, Any]:
        cpu_s = int(max(1.0, until - time.monotonic())) + 60
        ranks = [
            {"rank": rank, "trace": str(self.run.artifact(layout.TRACE, rank).absolute()), "analyses": names}
            for rank, names in todo.items()
        ]
        return {"ranks": ranks, "memory_bytes": self.limits.most_bytes, "cpu_s": cpu_s}

    def _take(self, fact: dict[str, Any], at: tuple[int, str | None]) -> tuple[int, str | None]:
        """One line of the child's; what it is at."""
        if "begins" in fact:
            rank, name = fact["begins"]
            return rank, name
        if fact["analysis"] is None:
            self.unread[fact["rank"]] = fact["why"]
        else:
            self._found[fact["rank"]][fact["analysis"]] = Found(**fact)
        return at

    def _failed(self, rank: int, analysis: str | None, why: str) -> None:
        if analysis is None:
            self.unread[rank] = why
        else:
            self._found[rank][analysis] = Found(rank, analysis, why=why, lasting=False)

    def _give_up(self, why: str) -> None:
        for rank, names in self._todo().items():
            for name in names:
                self._found[rank][name] = Found(rank, name, why=why, lasting=False)

    def _key(self, rank: int) -> cache.Key:
        return cache.key_of(self.run.artifact(layout.TRACE, rank)) | {"hta": self.version, "form": _FORM}

    def _kept(self, rank: int) -> dict[str, Found]:
        folder = cache.find(self.run.path / layout.CACHE_DIR, f"hta-rank{rank}", self._key(rank))
        if folder is None:
            return {}
        try:
            kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
            return {name: build(Found, kept[name], name) for name in ANALYSES if name in kept}
        except (OSError, ValueError, TypeError, RecursionError):
            # Not of our writing, or damaged: HTA says it again, and this is replaced.
            return {}

    def _keep(self, rank: int) -> None:
        """Keep what this trace gives every time."""
        kept = {name: asdict(found) for name, found in {**self._kept(rank), **self._found[rank]}.items() if found.lasting}
        if not kept:
            return

        def fill(partial: Path) -> dict[str, Any]:
            (partial / _KEPT).write_text(json.dumps(kept), encoding="utf-8")
            return {}

        cache.store(self.run.path / layout.CACHE_DIR, f"hta-rank{rank}", self._key(rank), fill, again=True)


def installed() -> bool:
    """Whether HTA is there; it is not imported to tell."""
    return importlib.util.find_spec("hta") is not None


def version() -> str:
    """HTA's version.

    Raises:
        MissingExtra: it is not installed.
        UsageError: pandas is one on which it does not work.
    """
    if not installed():
        raise MissingExtra("Holistic Trace Analysis", EXTRA)
    pandas = importlib.metadata.version("pandas")
    if int(pandas.partition(".")[0]) > 2:
        raise UsageError(
            f"Holistic Trace Analysis does not work on pandas {pandas}", "install one that does: pip install 'pandas<3'"
        )
    return importlib.metadata.version(PACKAGE)


_RECORD = "record it with the traced phase, or import a trace"


def _chosen(run: Run, ranks: Sequence[int]) -> list[int]:
    traced = [rank for rank in run.ranks if run.has(layout.TRACE, rank)]
    if not traced:
        hint = f"it ended as {run.manifest.status}, see: diffuscope show {run.path}" if run.manifest.failure else _RECORD
        raise UnreadableInput(f"{run.path} holds no trace, which HTA reads", hint)
    missing = [rank for rank in ranks if rank not in traced]
    if missing:
        raise UsageError(f"{run.path} holds no trace of rank {missing[0]}", f"it has rank {', '.join(map(str, traced))}")
    return [rank for rank in traced if not ranks or rank in ranks]


def _start(folder: Path, request: Path, answer: Path, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    """HTA in a folder and a home of its own: it reads settings from there, and nobody's may change the numbers."""
    rounding = {name: value for name, value in SETTINGS.items() if isinstance(value, str)}
    quiet = {"HOME": str(folder), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    arguments = [sys.executable, "-P", "-c", _BOOT, str(Path(__file__).parents[2]), str(request), str(answer)]
    nothing = subprocess.DEVNULL
    return subprocess.Popen(
        arguments,
        stdin=nothing,
        stdout=nothing,
        stderr=stderr,
        cwd=folder,
        env=os.environ | rounding | quiet,
        start_new_session=True,
    )


def _why(code: int, stderr: IO[bytes]) -> str:
    if code == -signal.SIGXCPU:
        return "it takes more processor time than it may"
    if code < 0:
        return f"the process that ran HTA was killed by {signal.Signals(-code).name}, out of memory maybe"
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - 1000))
    lines = stderr.read().decode("utf-8", "replace").strip().splitlines()
    return "the process that ran HTA failed" + (f" ({lines[-1][:200]!r})" if lines else "")

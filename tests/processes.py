"""Real `diffuscope` processes for tests: one command line each, on one thread, with what they imported if asked for."""

from __future__ import annotations

import atexit
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
# The smallest recording that still has every phase.
QUICK = ("--device", "cpu", "--size", "64", "--steps", "2", "--trace-steps", "1", "--repeats", "1", "--warmup", "0")
TIMEOUT_S = 240
RUNS = "DIFFUSCOPE_TEST_RUNS"
HEAVY_TO_RECORD = frozenset({"torch", "torchao", "diffusers", "transformers", "accelerate", "triton", "numpy"})
HEAVY_TO_READ = frozenset({"polars", "msgspec", "isal", "streamlit", "pandas"})


@dataclass(frozen=True)
class Loaded:
    """One process that ended: its arguments, and the modules it had loaded."""

    command: str
    modules: frozenset[str]

    def __contains__(self, module: str) -> bool:
        return module in self.modules


def environment(**more: str) -> dict[str, str]:
    """The environment of a child: this checkout and the test pipelines can be imported, one thread."""
    paths = [str(ROOT), str(TESTS / "recording"), str(TESTS / "modules_at_exit")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "COLUMNS": "160"} | more


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "profiler", *map(str, arguments)]


def diffuscope(*arguments: str | Path, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command line to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd or ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def start(*arguments: str | Path, cwd: Path, **more: str) -> subprocess.Popen[str]:
    """Start one command line in a process group of its own, as a shell does."""
    return subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def show(run: Path) -> dict[str, Any]:
    """What `diffuscope show RUN --json` prints; the command must succeed."""
    done = diffuscope("show", run, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def loaded(folder: Path) -> list[Loaded]:
    """The processes that ran with MODULES_AT_EXIT=folder."""
    found = []
    for path in sorted(folder.glob("*.txt")):
        first, *names = path.read_text().splitlines()
        found.append(Loaded(first, frozenset(names)))
    return found


@dataclass(frozen=True)
class Recorded:
    """A run directory that `diffuscope record --json` made, and the processes that made it."""

    path: Path
    done: subprocess.CompletedProcess[str]
    processes: list[Loaded]

    @property
    def manifest(self) -> dict[str, Any]:
        return self.json("run.json")

    def json(self, name: str) -> Any:
        data = (self.path / name).read_bytes()
        return json.loads(gzip.decompress(data) if name.endswith(".gz") else data)

    def phase(self, name: str) -> dict[str, Any]:
        (found,) = (each for each in self.manifest["phases"] if each["name"] == name)
        return found


@cache
def recorded(*arguments: str, **more: str) -> Recorded:
    """Record once in a test session; every test that asks for the same, in any of its processes, gets the same run."""
    name = hashlib.sha256(json.dumps([arguments, more], sort_keys=True).encode()).hexdigest()[:16]
    folder, run = runs_folder() / name, runs_folder() / name / "run"
    (folder / "modules").mkdir(parents=True, exist_ok=True)
    ended = folder / "ended.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ended.exists():
            own = {"MODULES_AT_EXIT": str(folder / "modules")} | {key: text.format(folder=folder) for key, text in more.items()}
            done = diffuscope("record", *arguments, "-o", run, "--json", **own)
            ended.write_text(json.dumps([done.args, done.returncode, done.stdout, done.stderr]))
    return Recorded(run, subprocess.CompletedProcess(*json.loads(ended.read_text())), loaded(folder / "modules"))


@cache
def runs_folder() -> Path:
    """Where this session's recordings lie: one folder for all processes of pytest-xdist, removed by the first of them."""
    if RUNS not in os.environ:
        os.environ[RUNS] = tempfile.mkdtemp(prefix="diffuscope-test-")
        atexit.register(shutil.rmtree, os.environ[RUNS], ignore_errors=True)
    return Path(os.environ[RUNS])


def eager() -> Recorded:
    """The tiny Flux in bf16, nothing compiled; two repeats of three steps, two steps traced."""
    return recorded("flux-tiny", *QUICK, "--steps", "3", "--trace-steps", "2", "--repeats", "2", "--warmup", "1")


def compiled() -> Recorded:
    """The tiny Flux in int8wo with its blocks compiled by Inductor: the one slow recording (30-45 s where its cache is cold)."""
    return recorded("flux-tiny", *QUICK, "--scheme", "int8wo", "--compile", "regional")

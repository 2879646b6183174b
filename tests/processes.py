"""Real `diffuscope` processes for tests: one command line each, on one thread, with what they imported if asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
# The smallest recording that still has every phase.
QUICK = ("--device", "cpu", "--size", "64", "--steps", "2", "--trace-steps", "1", "--repeats", "1", "--warmup", "0")
TIMEOUT_S = 240


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

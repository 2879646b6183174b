"""A command that is killed leaves no process behind: its child is asked to end, and may write down what it has."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import environment

CHILD = """
import os, signal, sys, time
from pathlib import Path

def asked(*_):
    Path("asked").touch()
    sys.exit()

signal.signal(signal.SIGTERM, asked)
print(sys.stdin.read(), sys.argv[1:], __name__, __spec__.name, file=sys.stderr)
Path("pid.new").write_text(str(os.getpid()))
Path("pid.new").rename("pid")
time.sleep(60)
"""
# `record`, `tune` and `plan` start theirs with the first, `explain` with the second.
PARENTS = {
    "start_child": "from profiler.cli.record import start_child; start_child('sleeper', {'a': 1})",
    "explain": """
import profiler.cli.explain as explain
true = explain.child_command
explain.child_command = lambda module: true({'profiler.recording.explain': 'sleeper'}[module])
explain._run_child({'a': 1})
""",
}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process of its parent's death")
@pytest.mark.parametrize("how", PARENTS)
def test_a_child_ends_with_the_command_that_started_it(tmp_path: Path, how: str):
    (tmp_path / "sleeper.py").write_text(CHILD)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENTS[how]], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until((tmp_path / "pid").exists)
    finally:
        parent.kill()
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: gone(pid))
    assert (tmp_path / "asked").exists()
    assert parent.communicate()[1] == '{"a": 1} [] __main__ sleeper\n'

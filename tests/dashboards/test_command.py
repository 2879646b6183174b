"""`diffuscope dashboard`: starts, says where, ends; says what is missing."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
from processes import HEAVY_TO_RECORD, command, diffuscope, environment, start

from profiler.cli import dashboard
from profiler.core.errors import MissingExtra, UsageError


def test_it_serves_until_it_is_told_to_end(tmp_path: Path):
    # Code that came with somebody's traces: the server must not take it for its library.
    (tmp_path / "streamlit.py").write_text("raise SystemExit('not the library')")
    child = start("dashboard", tmp_path, "--port", "0", "--json", cwd=tmp_path)
    try:
        assert child.stdout
        text = ""
        while not text.rstrip().endswith("}"):
            line = child.stdout.readline()
            assert line, child.stderr.read() if child.stderr else ""
            text += line
        said = json.loads(text)
        assert said["folder"] == str(tmp_path)
        assert said["url"].startswith("http://127.0.0.1:")
        assert wait_for(said["url"] + "/_stcore/health") == "ok"
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
    assert child.returncode in (0, -signal.SIGINT, 130)


def wait_for(url: str, tries: int = 120) -> str:
    """What a server says once it listens."""
    import time

    for _ in range(tries):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.25)
    raise AssertionError(f"{url} does not answer")


def test_a_folder_that_is_not_there(tmp_path: Path):
    done = diffuscope("dashboard", tmp_path / "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no folder" in done.stderr and "Traceback" not in done.stderr


def test_a_taken_port_is_said_and_the_default_moves_on():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1 port {port}"):
            dashboard._free_port("127.0.0.1", port)
    assert dashboard._free_port("127.0.0.1", None) in range(8501, 8521)


def test_an_address_of_another_machine_is_said():
    with pytest.raises(UsageError, match=r"cannot listen on 203\.0\.113\.7"):
        dashboard._free_port("203.0.113.7", 0)


def test_a_missing_extra_is_a_pip_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(dashboard, "_NEEDED", ("streamlit", "no_such_package"))
    with pytest.raises(MissingExtra, match="the dashboard needs packages") as error:
        dashboard.command(tmp_path)
    assert error.value.hint == "install them with: pip install 'diffuscope[dashboard]'"


def test_its_pages_never_import_torch():
    import subprocess
    import sys

    code = "import sys, importlib; from dashboards.navigation import ENTRIES\n"
    code += "for each in ENTRIES: importlib.import_module(each.module)\n"
    code += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    names = set(done.stdout.split())
    assert "dashboards.pages.diagnosis" in names
    # Streamlit itself imports numpy.
    assert (HEAVY_TO_RECORD - {"numpy"}) & names == set()


def test_help_has_its_options():
    import subprocess

    done = subprocess.run(command("dashboard", "--help"), env=environment(), capture_output=True, text=True, check=True)
    assert all(option in done.stdout for option in ("--port", "--host", "--json"))

"""Whoever reads what a command prints may go, or never have been there: no failure, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = "import sys; from profiler.cli import main; sys.argv = ['diffuscope', *sys.argv[1:]]; main()"


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["at the end", "at once"])
def test_a_reader_that_is_gone_is_no_failed_check(unbuffered: str):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", CODE, "clinic"]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_output_that_is_closed_is_none():
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", CODE, "clinic"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

"""Traces by hand are made with the helpers of `tests/metrics`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "metrics"))


@pytest.fixture
def run_with(tmp_path):
    """Write a run of the given events, and optionally of log records and a second trace with stacks."""
    from small_runs import write_run

    def make(events=None, log=None, places=None, name="run", **manifest):
        return write_run(tmp_path / name, events, log, places, **manifest)

    return make

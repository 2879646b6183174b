"""Runs that several tests read; each is recorded once a session, by the real command in a process of its own."""

from __future__ import annotations

import pytest
import torch
from processes import QUICK, Recorded, compiled, eager, recorded


@pytest.fixture(scope="session")
def eager_run() -> Recorded:
    return eager()


@pytest.fixture(scope="session")
def compiled_run() -> Recorded:
    return compiled()


@pytest.fixture(scope="session")
def watched_run() -> Recorded:
    """A pipeline of the user's own that notes, before every transformer forward, what records at that moment.

    TORCH_TRACE is set, so that torch has a log handler of its own.
    """
    more = {"WATCH_FILE": "{folder}/watch.jsonl", "TORCH_TRACE": "{folder}/torch_trace"}
    return recorded("pipelines:watched", *QUICK, "--steps", "2", "--repeats", "2", **more)


@pytest.fixture
def one_thread():
    """As many threads as the recordings have: sums in another order would round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

"""Fixtures of this room."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def one_thread():
    """One thread, as long as a test runs: sums in another order would round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

"""Fake cells for every test of the room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from drive import HERE, Notes


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sweep"


@pytest.fixture(autouse=True)
def fake_cells_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process that a test starts, nodes of a cluster too, can import this checkout and the fake cells."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (HERE.parents[1], HERE, HERE / "quick_ray"))))

"""Fake cells for every test of the room."""

from __future__ import annotations

from pathlib import Path

import pytest
from drive import Notes


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sweep"


@pytest.fixture(autouse=True)
def fake_cells_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """`drive` changes PYTHONPATH for its children; afterwards it is as before."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))

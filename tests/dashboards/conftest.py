"""Runs for the dashboard: the kept ones, and small ones made on the spot."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ROOT
from small_folders import BF16, FP8, INT8, OOM, hostile_run

pytest.importorskip("streamlit", reason="the dashboard extra is not installed")

GOLDEN = ROOT / "traces"


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    """Streamlit puts the page in the place of `__main__`, and processes that are spawned later would start with it."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def golden() -> Path:
    if not (GOLDEN / INT8 / "run.json").is_file():
        pytest.skip("the kept runs are not in traces/")
    return GOLDEN


@pytest.fixture(scope="session")
def runs_folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kept runs, one that is broken, and one whose every name is markup."""
    folder = tmp_path_factory.mktemp("runs")
    for name in (INT8, BF16, FP8, OOM):
        shutil.copytree(golden / name, folder / name)
    (folder / "broken" / "rank0").mkdir(parents=True)
    (folder / "broken" / "run.json").write_text("{")
    hostile_run(folder)
    return folder

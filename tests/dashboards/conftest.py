"""Runs for the dashboard: the kept ones, and small ones made on the spot."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ROOT, diffuscope
from small_folders import BF16, FP8, HOSTILE, INT8, OOM

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


def hostile_run(folder: Path) -> Path:
    """A trace with markup for names, imported into a folder with markup for a name."""
    where = {"ph": "X", "pid": 1, "tid": 1}
    name = f"{HOSTILE}<script>window.hacked=1</script>"
    on_gpu = {"correlation": 7, "device": 0, "stream": 7}
    events = [
        where | {"cat": "cpu_op", "name": f"[x](javascript:window.hacked=1) {HOSTILE}", "ts": 10.0, "dur": 9.0, "args": {}},
        where | {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 12.0, "dur": 4.0, "args": {"correlation": 7}},
        where | {"cat": "kernel", "name": name, "ts": 20.0, "dur": 30.0, "args": on_gpu},
    ]
    trace = folder.parent / f"{folder.name}-hostile.json"
    trace.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    run = folder / HOSTILE.replace("/", "")
    done = diffuscope("import", trace, "-o", run, "--json")
    assert done.returncode == 0, done.stderr
    return run

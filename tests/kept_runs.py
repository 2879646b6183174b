"""The runs of `traces/` and the traces of `../shared`, their tables read once in a test session and kept outside of both."""

from __future__ import annotations

import contextlib
from functools import cache
from pathlib import Path
from typing import Any

from processes import ROOT, runs_folder

from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

TRACES = ROOT / "traces"


@cache
def kept_run(name: str) -> Run:
    """A run of `traces/`, as if it lay elsewhere: its cache is of this session. Tests share it, and must not change it."""
    ranks = {path.name: path for path in (TRACES / name).iterdir() if path.is_dir() and path.name.startswith("rank")}
    return Run(_folder(name, ranks), Run.open(TRACES / name).manifest)


def run_of_trace(trace: Path, **manifest: Any) -> Run:
    """An imported run that holds one trace and nothing else; tests that give no manifest share it."""
    return _of_trace(trace, Manifest(**{"kind": "import", **manifest})) if manifest else _shared_of_trace(trace)


@cache
def _shared_of_trace(trace: Path) -> Run:
    return _of_trace(trace, Manifest(kind="import"))


def _of_trace(trace: Path, manifest: Manifest) -> Run:
    name = trace.name.partition(".")[0]
    folder = _folder(f"trace-{name}", {})
    (folder / "rank0").mkdir(exist_ok=True)
    _link(folder / "rank0" / "trace.json.gz", trace)
    return Run(folder, manifest)


def _folder(name: str, links: dict[str, Path]) -> Path:
    folder = runs_folder() / "kept" / name
    folder.mkdir(parents=True, exist_ok=True)
    for link, target in links.items():
        _link(folder / link, target)
    return folder


def _link(path: Path, target: Path) -> None:
    # Another process of the same session may have been first.
    with contextlib.suppress(FileExistsError):
        path.symlink_to(target)

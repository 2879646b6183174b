"""The walls of the house: imports point down only, and the record and the analysis side never meet."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from processes import HEAVY_TO_READ, HEAVY_TO_RECORD, ROOT, Loaded, diffuscope, loaded

LAYERS = {"core": 0, "rundir": 1}
LAYERS |= dict.fromkeys(("kernels", "models", "schemes", "compilers", "placement", "tables"), 2)
LAYERS |= dict.fromkeys(("recording", "metrics", "clinic"), 3) | dict.fromkeys(("tune", "sweep", "rules"), 4)
LAYERS |= {"plan": 5, "report": 5, "cli": 6, "dashboards": 6}
RECORD_SIDE = {"kernels", "models", "schemes", "compilers", "placement", "recording", "clinic", "tune", "plan", "sweep"}
ANALYSIS_SIDE = {"tables", "metrics", "rules", "report", "dashboards"}
# The one import that stays on its layer.
SIDEWAYS = {("schemes", "kernels")}
# One module, which is a process of its own, imports Holistic Trace Analysis and what comes with it.
HTA_ALONE = {"hta", "pandas"}
HTA_CHILD = "profiler/tables/hta_child.py"
# Qualities and pictures are computed from arrays: these files of the analysis side import numpy, and only when one is asked for.
LATE = {("profiler/metrics/quality.py", "numpy"), ("dashboards/pictures.py", "numpy")}


class Import(NamedTuple):
    """One import statement's target, as a file of `room` writes it; `top` where importing the file runs it."""

    file: Path
    line: int
    room: str
    target: str
    top: bool


def imports_of(file: Path, text: str) -> Iterator[Import]:
    parts = file.parts
    room = parts[0] if parts[0] != "profiler" else (parts[1] if len(parts) > 2 else "")
    tree = ast.parse(text)
    inner = {id(each) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for each in ast.walk(node)}
    for node in ast.walk(tree):
        top = id(node) not in inner
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, room, alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            assert node.module
            yield Import(file, node.lineno, room, node.module, top)
            if node.module == "profiler":
                yield from (Import(file, node.lineno, room, f"profiler.{alias.name}", top) for alias in node.names)


def target_room(target: str) -> str | None:
    """The room that a module name lies in; None outside this project."""
    head, _, rest = target.partition(".")
    if head == "dashboards":
        return "dashboards"
    return rest.partition(".")[0] or None if head == "profiler" else None


def faults(each: Import) -> list[str]:
    """What an import breaks, in words."""
    found, package, room = [], each.target.partition(".")[0], target_room(each.target)
    if room in LAYERS and each.room in LAYERS and room != each.room:
        if LAYERS[room] >= LAYERS[each.room] and (each.room, room) not in SIDEWAYS:
            found.append(f"{each.room} imports {room}, which is not below it")
        sides = (RECORD_SIDE, ANALYSIS_SIDE)
        if any(each.room in one and room in other for one, other in (sides, sides[::-1])):
            found.append(f"{each.room} imports {room}, of the other side")
    if each.room in RECORD_SIDE and package in HEAVY_TO_READ:
        found.append(f"{each.room} is of the record side and imports {package}")
    late = not each.top and (each.file.as_posix(), package) in LATE
    if each.room in ANALYSIS_SIDE and package in HEAVY_TO_RECORD and not late:
        found.append(f"{each.room} is of the analysis side and imports {package}")
    if package in HTA_ALONE and each.file.as_posix() != HTA_CHILD:
        found.append(f"{each.file} imports {package}: only {HTA_CHILD} may")
    if each.target == "profiler.tables.hta_child":
        found.append(f"{each.file} imports the process that runs HTA")
    if each.room in ("core", "rundir") and package not in (*sys.stdlib_module_names, "profiler"):
        found.append(f"{each.room} imports {package}, which is not in the standard library")
    registry = each.room in ("models", "schemes", "compilers", "cli", "")
    if registry and each.top and package in HEAVY_TO_RECORD | HEAVY_TO_READ:
        found.append(f"importing {each.file} would import {package}")
    return found


def every_import() -> list[Import]:
    files = sorted(path for folder in ("profiler", "dashboards") for path in (ROOT / folder).rglob("*.py"))
    return [each for path in files for each in imports_of(path.relative_to(ROOT), path.read_text())]


def test_every_room_has_a_layer():
    rooms = {path.parent.name for path in (ROOT / "profiler").glob("*/__init__.py")}
    assert rooms <= set(LAYERS)
    assert {
        "core",
        "rundir",
        "models",
        "schemes",
        "compilers",
        "kernels",
        "recording",
        "tables",
        "metrics",
        "report",
        "cli",
    } <= rooms


def test_imports_point_down_and_the_sides_do_not_meet():
    found = every_import()
    assert len(found) > 300
    assert [f"{each.file}:{each.line}: {fault}" for each in found for fault in faults(each)] == []


@pytest.mark.parametrize(
    ("file", "statement", "fault"),
    [
        ("profiler/core/a.py", "import profiler.rundir.layout", "core imports rundir, which is not below it"),
        ("profiler/models/a.py", "from profiler.schemes.base import SCHEMES", "models imports schemes, which is not below it"),
        ("profiler/rules/a.py", "from profiler.recording import marks", "rules imports recording, of the other side"),
        ("profiler/recording/a.py", "def f():\n import polars", "recording is of the record side and imports polars"),
        ("profiler/metrics/a.py", "import torch.nn", "metrics is of the analysis side and imports torch"),
        ("profiler/metrics/a.py", "def f():\n import numpy", "metrics is of the analysis side and imports numpy"),
        ("profiler/metrics/quality.py", "import numpy", "metrics is of the analysis side and imports numpy"),
        ("profiler/rundir/a.py", "import rich", "rundir imports rich, which is not in the standard library"),
        ("profiler/schemes/a.py", "import torch", "importing profiler/schemes/a.py would import torch"),
        ("dashboards/a.py", "import profiler.models.base", "dashboards imports models, of the other side"),
        ("profiler/tables/hta.py", "def f():\n import hta.common", f"profiler/tables/hta.py imports hta: only {HTA_CHILD} may"),
        ("dashboards/a.py", "def f():\n import pandas", f"dashboards/a.py imports pandas: only {HTA_CHILD} may"),
        ("profiler/cli/a.py", "import profiler.tables.hta_child", "profiler/cli/a.py imports the process that runs HTA"),
    ],
)
def test_a_planted_fault_is_found(file: str, statement: str, fault: str):
    (planted,) = imports_of(Path(file), statement)
    assert fault in faults(planted)


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("profiler/schemes/a.py", "def f():\n import torch"),
        ("profiler/schemes/a.py", "from profiler.kernels import small_m_linear"),
        ("profiler/cli/record.py", "from profiler.models.base import MODELS"),
        ("profiler/metrics/quality.py", "def f():\n import numpy as np"),
        (HTA_CHILD, "def f():\n from hta.trace_analysis import TraceAnalysis"),
        ("profiler/cli/show.py", "from profiler.report.show import show_data"),
    ],
)
def test_what_the_walls_allow(file: str, statement: str):
    assert [fault for each in imports_of(Path(file), statement) for fault in faults(each)] == []


def run_and_list(tmp_path: Path, *arguments: str) -> Loaded:
    done = diffuscope(*arguments, cwd=tmp_path, MODULES_AT_EXIT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (process,) = loaded(tmp_path)
    return process


@pytest.mark.parametrize("arguments", [("--help",), ("record", "--help"), ("--version",)])
def test_help_loads_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]):
    process = run_and_list(tmp_path, *arguments)
    assert "profiler.cli.record" in process
    assert (HEAVY_TO_RECORD | HEAVY_TO_READ) & process.modules == set()


def test_the_registries_were_listed_for_that_help(tmp_path: Path):
    process = run_and_list(tmp_path, "record", "--help")
    assert {"profiler.models.flux", "profiler.schemes.int8dq", "profiler.compilers.regional"} <= process.modules


def test_importing_the_package_loads_neither_side(tmp_path: Path):
    import subprocess

    code = "import sys, profiler; dir(profiler); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    names = set(done.stdout.split())
    assert "profiler" in names
    assert (HEAVY_TO_RECORD | HEAVY_TO_READ) & names == set()


def test_public_names_resolve_and_none_is_a_room():
    import profiler

    rooms = {path.parent.name for path in (ROOT / "profiler").glob("*/__init__.py")}
    assert {"record", "RunSpec", "Run", "DiffuscopeError"} <= set(profiler.__all__)
    assert rooms.isdisjoint(profiler.__all__)
    for name in profiler.__all__:
        assert getattr(profiler, name) is not None
        assert name in dir(profiler)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        profiler.nothing  # noqa: B018

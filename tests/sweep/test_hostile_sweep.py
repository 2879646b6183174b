"""A sweep's folder from elsewhere: links that lead out of it, and a `sweep.json` of any shape, are one error and cost nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profiler.core.errors import DiffuscopeError, UnreadableInput, UsageError
from profiler.core.spec import RunSpec
from profiler.sweep.cells import Cell, make_cells
from profiler.sweep.folder import Header, SweepFolder, look
from profiler.tables.sweep import open_sweep

PARTS = {"from_steps": [4, 8], "fixed_ms": 1.0, "step_ms": 2.0, "error_ms": 0.1}
GARBAGE = [None, True, "x", -1, 10**400, 1e308, float("nan"), [], [None], {}, {"a": None}, "../..", "/etc", "\x1b[31m", "a\0b"]


def cells() -> list[Cell]:
    return make_cells([RunSpec(model="flux-tiny", scheme=each, steps=4) for each in ("bf16", "int8wo")])


def swept(path: Path) -> SweepFolder:
    """A folder at work, with what its first cell printed."""
    folder = SweepFolder(path, Header(model="flux-tiny", steps=8), {}, "diffuscope sweep")
    try:
        folder.begin(cells())
        for each in folder.cells:
            each.attempts += each.status == "queued"
        folder.seal(folder.cells[0], "log")
    finally:
        folder.close()
    return folder


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    return tmp_path / "precious"


@pytest.mark.parametrize("name", [".work", "logs", ".lock"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, precious: Path, name: str):
    swept(tmp_path / "sweep")
    place = tmp_path / "sweep" / name
    place.rename(tmp_path / "before") if place.exists() else None
    place.symlink_to(precious)
    with pytest.raises(UsageError, match="is a link, and leads out of the sweep's folder"):
        swept(tmp_path / "sweep")
    assert [each.name for each in precious.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "name", [".sweep.json.partial", ".run.json.partial", "logs/bf16-none.log", "logs/.bf16-none.log.partial"]
)
def test_nothing_is_written_through_a_link(tmp_path: Path, precious: Path, name: str):
    swept(tmp_path / "sweep")
    (tmp_path / "sweep" / name).unlink(missing_ok=True)
    (tmp_path / "sweep" / name).symlink_to(precious / "file")
    swept(tmp_path / "sweep")
    assert (precious / "file").read_text() == "mine"


def test_links_among_what_was_left_half_made_go_and_what_they_lead_to_stays(tmp_path: Path, precious: Path):
    swept(tmp_path / "sweep")
    (tmp_path / "sweep" / ".work").mkdir()
    (tmp_path / "sweep" / ".work" / "left").symlink_to(precious)
    swept(tmp_path / "sweep")
    assert (precious / "file").read_text() == "mine"


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from _paths(each, (*path, key))


def _changed(raw: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    raw = copy.deepcopy(raw)
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return raw


@pytest.mark.parametrize("status", ["queued", "ok"])
def test_a_list_of_cells_of_any_shape_is_taken_over_or_one_error(tmp_path: Path, status: str):
    swept(tmp_path)
    file = tmp_path / "sweep.json"
    whole = json.loads(file.read_text())
    whole["cells"] = [each | {"status": status} for each in whole["cells"]]
    whole["cells"] += [copy.deepcopy(whole["cells"][0]) | {"id": "other", "status": "ok"}]
    refused = 0
    for path in _paths(whole):
        for value in GARBAGE:
            file.write_text(json.dumps(_changed(whole, path, value)))
            try:
                swept(tmp_path)
            except DiffuscopeError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize("field", ["id", "run"])
@pytest.mark.parametrize("name", ["..", "../other", "/etc", "a/b", "a\nb", "."])
def test_a_cell_lies_in_the_folder(tmp_path: Path, field: str, name: str):
    raw = cells()[0].to_dict() | {field: name}
    with pytest.raises(UnreadableInput, match="lies outside the sweep's folder"):
        Cell.from_dict(raw)


@pytest.mark.parametrize("field", ["id", "run"])
@pytest.mark.parametrize("name", ["", "a" * 256, "é" * 128], ids=["none", "long", "long in bytes"])
def test_a_cell_has_a_name_that_a_folder_can_have(tmp_path: Path, field: str, name: str):
    raw = cells()[0].to_dict()
    with pytest.raises(UnreadableInput, match="has a name that no folder can have"):
        Cell.from_dict(raw | {field: name})
    assert getattr(Cell.from_dict(raw | {field: "a" * 255}), field) == "a" * 255


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ({"schema": 0}, {}, "has schema 0, which was never written"),
        ({"schema": True}, {}, "has schema True, which was never written"),
        ({"schema": 2}, {}, "has schema 2; this diffuscope reads up to 1"),
        ({"cells": None}, {}, "holds no list of cells"),
        ({"steps": "8"}, {}, "sweep.steps is '8'"),
        ({}, {"id": "int8wo-none"}, "holds cell 'int8wo-none' twice"),
        ({}, {"hash": 5}, "cell.hash is 5"),
        ({}, {"extrapolated": {"a": 1}}, "cell.extrapolated: missing"),
        ({}, {"extrapolated": PARTS | {"step_ms": 1e308}}, "cell.extrapolated.step_ms is 1e"),
    ],
)
def test_what_show_refuses_a_sweep_refuses_too(tmp_path: Path, header: dict[str, Any], row: dict[str, Any], message: str):
    first, second = (each.to_dict() for each in cells())
    whole = {"schema": 1, "model": "flux-tiny", "cells": [first | row, second], **header}
    (tmp_path / "sweep.json").write_text(json.dumps(whole))
    with pytest.raises(UnreadableInput, match=message):
        look(tmp_path, "flux-tiny", cells())
    with pytest.raises(UnreadableInput):
        open_sweep(tmp_path)

"""A `sweep.json` or a manifest with one value changed is answered, or is one clear error; nothing else comes out."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweep_folders import cell, manifest, spec, sweep_json, write_run

from profiler.core.errors import DiffuscopeError
from profiler.report.sweep import sweep_data
from profiler.report.sweep_files import sweep_csv, sweep_markdown
from profiler.report.sweep_text import sweep_text

_VALUES = st.sampled_from([None, True, -1, 0, 1, 2**62, 1e300, -1e300, "", "a", "x\ny", [], {}, [None], {"a": 1}])
PARTS = {"from_steps": [4, 8], "fixed_ms": 1000.0, "step_ms": 100.0, "error_ms": 50.0}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(*path, key) for key, _ in items] + [found for key, each in items for found in leaves(each, (*path, key))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    made = copy.deepcopy(value)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A measured cell, an extrapolated one, one that failed."""
    path = tmp_path_factory.mktemp("mutated") / "s"
    write_run(path / "a", manifest(spec("int8dq", "regional")))
    write_run(path / "b", manifest(spec(compile="regional", steps=8)))
    cells = [cell("a", spec("int8dq", "regional")), cell("b", spec(compile="regional", steps=8), extrapolated=PARTS)]
    sweep_json(path, [*cells, cell("c", spec("fp8wo"), "oom", run=None, reason="no room")])
    return path


def answered(path: Path) -> None:
    """Everything that is made of a folder, or one clear error."""
    try:
        data = sweep_data(path, against="seed", max_memory_gib=24.0, min_sqnr_db=10.0)
    except DiffuscopeError as error:
        assert str(error)
        return
    json.dumps(data, allow_nan=False)
    assert max(map(len, sweep_text(data, 100).splitlines())) <= 100
    assert sweep_csv(data).startswith("model,gpu") and sweep_markdown(data).startswith("# ")


def one_value_changed(path: Path, file: Path, draw: st.DataObject) -> None:
    before = file.read_text()
    content = json.loads(before)
    where = draw.draw(st.sampled_from(leaves(content)))
    try:
        file.write_text(json.dumps(changed(content, where, draw.draw(_VALUES))))
        answered(path)
    finally:
        file.write_text(before)
        shutil.rmtree(path / "a" / "cache", ignore_errors=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_of_the_sweeps_file(folder, data):
    one_value_changed(folder, folder / "sweep.json", data)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_of_a_manifest(folder, data):
    one_value_changed(folder, folder / "a" / "run.json", data)


def test_as_it_is_it_has_an_answer(folder):
    data = sweep_data(folder, against="seed")
    assert [each["status"] for each in data["cells"]] == ["ok", "ok", "oom"]
    assert len(data["against_seed"]["rows"]) == 3

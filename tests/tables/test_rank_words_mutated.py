"""What a rank says of itself, in any shape: the run is shown, or one error names the place."""

from __future__ import annotations

import json

import pytest
from rank_runs import pair

from profiler.core.errors import DiffuscopeError
from profiler.report.show import show_data
from profiler.report.show_text import show_text
from profiler.tables.run import Run


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("runs"))[1]


def _shown(run):
    opened = Run.open(run)
    data = show_data(opened)
    json.dumps(data)
    return show_text(data, 10, 100)


STRANGE = ["[" * 100_000, '{"rank":' + "9" * 5000 + "}", "\xff", "[]", "{}", '{"rank": 1, "status": "\\ud800"}']
_CHANGED = [
    *({"timed": {"iterations_ns": each}} for each in (True, "x", [None], [10**400], {})),
    *({"phases": [{"name": "traced", "start_ns": 1, "detail": {"calls_ns": 3}}]}, {"memory": {"model_bytes": "x"}}),
    *({"process": {"pid": []}}, {"host": "\ud800"}, {"failure": []}, {"traced": {"dur_ns": "x"}}),
]


@pytest.mark.parametrize("index", range(len(STRANGE) + len(_CHANGED)))
def test_a_rank_that_says_anything_costs_no_traceback(two, index):
    path = two / "rank1" / "rank.json"
    whole = path.read_text()
    changed = [json.dumps(json.loads(whole) | each) for each in _CHANGED]
    try:
        path.write_text([*STRANGE, *changed][index], encoding="latin-1")
        try:
            assert "ranks, a step as traced" in _shown(two)
        except DiffuscopeError as error:
            assert "rank.json" in error.message
    finally:
        path.write_text(whole)

"""Figures of memory: fragmentation, several runs; and the waterfall of the promised win."""

from __future__ import annotations

import polars as pl
import pytest

from dashboards.charts import compare, fragmentation, memory_runs, style
from dashboards.charts.compare import Change
from profiler.core.units import GIB, MIB
from profiler.metrics.compare_weights import ComponentBytes, ExpectedWin
from profiler.metrics.memory import MemoryTimeline


def points(*live: int) -> list[dict[str, object]]:
    return [{"stretch": "text" if not index else "step", "time_ms": index, "live_bytes": size} for index, size in enumerate(live)]


def test_any_number_of_runs_is_laid_over_each_other():
    figure = memory_runs.overlay([(f"run {number}", points(GIB, number * GIB)) for number in range(10)])
    assert [trace.name for trace in figure.data] == [f"run {number}" for number in range(10)]
    assert list(figure.data[3].y) == [1.0, 3.0]
    # Of more runs than colours the line tells them apart.
    looks = {(trace.line.color, trace.line.dash) for trace in figure.data}
    assert len(looks) == 10
    assert [each.text for each in figure.layout.annotations] == ["text encoding", "steps"]


def test_no_run_is_an_empty_figure():
    assert style.empty(memory_runs.overlay([]))


def total(reserved: list[int | None]) -> MemoryTimeline:
    count = len(reserved)
    frame = pl.DataFrame(
        {
            "index": range(count),
            "time_us": range(count),
            "window": [""] * count,
            "live_bytes": [GIB] * count,
            "reserved_bytes": reserved,
        },
        schema_overrides={"reserved_bytes": pl.Int64},
    )
    return MemoryTimeline("category", frame, frame, frame)


def test_what_is_reserved_stands_above_what_is_live():
    live, held = fragmentation.reserved(total([2 * GIB, 3 * GIB])).data
    assert (list(live.y), list(held.y)) == ([1.0, 1.0], [2.0, 3.0])


def test_a_cpu_run_reserves_nothing():
    assert style.empty(fragmentation.reserved(total([None, None])))


def test_free_pieces_by_size():
    found = fragmentation.by_size(pl.Series([4 * MIB, 5 * MIB, 16 * MIB, 64 * MIB, 0, 512]))
    assert found.rows() == [(256, 1, 512), (4 * MIB, 2, 9 * MIB), (16 * MIB, 1, 16 * MIB), (64 * MIB, 1, 64 * MIB)]
    (bar,) = fragmentation.pieces(pl.Series([4 * MIB, 5 * MIB])).data
    assert (list(bar.x), list(bar.y), list(bar.text)) == (["4 MiB"], [9.0], ["2"])
    assert style.empty(fragmentation.pieces(pl.Series([], dtype=pl.Int64)))


def win(new: int | None) -> ExpectedWin:
    components = [ComponentBytes("transformer", 4 * GIB, GIB, new), ComponentBytes("vae", GIB, GIB, None if new is None else GIB)]
    return ExpectedWin(components, 0, {}, {}, 3 * GIB, False)


def test_the_promised_win_and_what_it_missed():
    (bar,) = compare.expected(win(2 * GIB), ("old", "new")).data
    assert list(bar.x) == [
        "weights of old",
        "transformer, promised",
        "by arithmetic",
        "transformer, not as promised",
        "stored by new",
    ]
    assert list(bar.y) == [5.0, -3.0, 2.0, 1.0, 3.0]
    assert list(bar.measure) == ["absolute", "relative", "total", "relative", "total"]


def test_a_promise_that_nobody_can_check_ends_with_itself():
    (bar,) = compare.expected(win(None), ("old", "new")).data
    assert list(bar.x)[-1] == "by arithmetic"


def test_the_promise_is_a_line_in_the_waterfall():
    figure = compare.waterfall([Change("weights", 4.0, 1.5)], "GiB", ("a", "b"), promised=1.0)
    (line,) = figure.layout.shapes
    assert (line.y0, line.y1) == (1.0, 1.0)


def test_several_runs_are_cut_into_the_same_groups():
    figure = compare.several([("a", [("GEMMs", 2.0), ("idle time", 1.0)]), ("b", [("GEMMs", 1.0)])], "ms a step")
    assert [(trace.name, list(trace.x)) for trace in figure.data] == [("GEMMs", [2.0, 1.0]), ("idle time", [1.0, 0.0])]
    assert figure.data[1].marker.pattern.shape == "/"


@pytest.mark.parametrize("name", ["<b>x</b>", "<img src=x>"])
def test_names_of_runs_are_text(name: str):
    for figure in (memory_runs.overlay([(name, points(1))]), compare.several([(name, [(name, 1.0)])], "ms")):
        assert "<b>x" not in figure.to_json() and "<img" not in figure.to_json()

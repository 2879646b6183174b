"""Windows: what marks them, and which stretch of the device they get."""

from __future__ import annotations

import polars as pl
import pytest
from ledger_traces import kernel, launch, mark, op, region, run_of

from profiler.metrics.windows import windows

_US = ("host_start_ns", "host_end_ns", "start_ns", "end_ns")


def _windows(tmp_path, events):
    found = windows(run_of(tmp_path / "run", events))
    return [(row["name"], row["index"], *(row[each] // 1000 for each in _US), row["mark"]) for row in found.to_dicts()]


def test_a_steps_kernels_are_found_by_their_launches_and_steps_tile(tmp_path):
    events = [
        mark("diffuscope/call", 0, 400),
        mark("diffuscope/text", 10, 50),
        launch(20, 25, 1),
        kernel(30, 120, 1),
        # The device still runs the text encoder's kernel when the step begins.
        mark("diffuscope/step/0", 60, 100),
        launch(70, 75, 2),
        kernel(120, 180, 2),
        mark("diffuscope/step/1", 100, 150),
        launch(110, 115, 3),
        kernel(200, 250, 3),
        # The device has long been idle.
        mark("diffuscope/decode", 300, 350),
        launch(310, 315, 4),
        kernel(320, 390, 4),
    ]
    assert _windows(tmp_path, events) == [
        ("call", 0, 0, 400, 0, 400, "diffuscope/call"),
        ("text", 0, 10, 50, 10, 120, "diffuscope/text"),
        ("step", 0, 60, 100, 120, 180, "diffuscope/step/0"),
        ("step", 1, 100, 150, 180, 250, "diffuscope/step/1"),
        ("decode", 0, 300, 350, 300, 390, "diffuscope/decode"),
    ]


def test_a_step_after_another_calls_decoding_does_not_take_it(tmp_path):
    events = [
        mark("diffuscope/step/0", 0, 10),
        launch(1, 2, 1),
        kernel(5, 20, 1),
        mark("diffuscope/decode", 10, 14),
        launch(11, 12, 2),
        kernel(20, 50, 2),
        mark("diffuscope/text", 30, 34),
        launch(31, 32, 3),
        kernel(50, 60, 3),
        mark("diffuscope/step/0", 70, 80),
        launch(71, 72, 4),
        kernel(75, 90, 4),
    ]
    found = windows(run_of(tmp_path, events)).filter(pl.col("name") == "step").select("start_ns", "end_ns").rows()
    assert found == [(0, 20_000), (70_000, 90_000)]


def test_all_kernels_of_a_graph_launch_belong_to_its_step(tmp_path):
    events = [mark("diffuscope/step/0", 0, 20), launch(5, 10, 1), kernel(12, 30, 1), kernel(40, 70, 1)]
    assert ("step", 0, 0, 20, 0, 70, "diffuscope/step/0") in _windows(tmp_path, events)


def test_without_a_gpu_both_ranges_are_the_marks(tmp_path):
    events = [mark("diffuscope/step/0", 10, 90), op("aten::mm", 20, 30)]
    assert _windows(tmp_path, events) == [
        ("call", 0, 10, 90, 10, 90, "whole trace"),
        ("step", 0, 10, 90, 10, 90, "diffuscope/step/0"),
    ]


def test_profiler_steps_of_a_foreign_trace(tmp_path):
    events = [mark(f"ProfilerStep#{n}", n * 100, n * 100 + 90) for n in (3, 4)]
    found = _windows(tmp_path, [*events, op("aten::mm", 320, 330)])
    assert [row[:4] + row[-1:] for row in found if row[0] == "step"] == [
        ("step", 0, 300, 390, "ProfilerStep#3"),
        ("step", 1, 400, 490, "ProfilerStep#4"),
    ]


def _flux(steps):
    """Eager operators, three blocks, eager operators: `steps` times, between an encoder and a decoder."""
    events, clock = [], 0

    def then(make, *args):
        nonlocal clock
        events.append(make(*args, clock, clock + 8))
        clock += 10

    for name in ("aten::embedding", "aten::softmax"):
        then(op, name)
    for _ in range(steps):
        then(op, "aten::linear")
        for compile_id in ("0/0", "0/0", "1/1"):
            then(region, compile_id)
        for name in ("aten::layer_norm", "aten::add"):
            then(op, name)
    then(op, "aten::conv2d")
    return events


def test_the_repeated_pattern_of_regions_with_the_operators_around(tmp_path):
    found = [row for row in _windows(tmp_path, _flux(3)) if row[0] == "step"]
    # From the Linear before the blocks to the sum after them: six operators of 10 us, the last one ends 2 us early.
    assert [row[2:4] for row in found] == [(20, 80), (80, 140), (140, 198)]
    assert {row[-1] for row in found} == {"repeated regions"}


def test_blocks_alone_are_no_steps(tmp_path):
    """One kind of block, four a step, with much eager work between the steps only."""
    events, clock = [], 0
    for _ in range(3):
        for _ in range(4):
            events.append(region("0/0", clock, clock + 8))
            clock += 10
        for _ in range(30):
            events.append(op("aten::mul", clock, clock + 1))
            clock += 2
    found = [row for row in _windows(tmp_path, events) if row[0] == "step"]
    assert [row[2] for row in found] == [0, 100, 200]


def test_a_whole_compiled_transformer_is_a_step(tmp_path):
    events = [region("0/0", start, start + 50) for start in (0, 60, 120)]
    assert [row[2:4] for row in _windows(tmp_path, events) if row[0] == "step"] == [(0, 60), (60, 120), (120, 170)]


def test_one_region_or_none_is_one_call(tmp_path):
    assert _windows(tmp_path, [region("0/0", 5, 50), launch(10, 12, 1), kernel(15, 70, 1)]) == [
        ("call", 0, 5, 70, 5, 70, "whole trace")
    ]


def test_each_outermost_compilation_is_a_window(tmp_path):
    events = [op("dynamo", 10, 50), op("dynamo", 20, 30), op("dynamo", 60, 80)]
    assert [row[:4] for row in _windows(tmp_path, events) if row[0] == "compile"] == [
        ("compile", 0, 10, 50),
        ("compile", 1, 60, 80),
    ]


def test_an_empty_trace_has_no_window(tmp_path):
    assert _windows(tmp_path, []) == []


@pytest.mark.parametrize(
    ("trace", "steps"), [("flux_small_item_breaks", 3), ("flux_small_cudagraph", 3), ("flux_dev_bf16_compiled", 2)]
)
def test_steps_of_real_foreign_traces(shared, trace, steps, tmp_path):
    run = run_of(tmp_path / "run", [])
    run.artifact("trace.json.gz").unlink()
    run.artifact("trace.json.gz").symlink_to(shared / "h100" / f"{trace}.trace.json.gz")
    found = windows(run)
    marked = found.filter(found["name"] == "step")
    assert marked.height == steps
    assert (marked["start_ns"][1:] == marked["end_ns"][:-1]).all()

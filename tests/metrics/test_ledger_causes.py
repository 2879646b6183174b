"""One tiny trace a cause of idle time, with the answer known to the microsecond."""

from __future__ import annotations

import pytest
from ledger_traces import (
    call,
    check_conserved,
    copy,
    graph,
    idle_us,
    kernel,
    launch,
    lookup,
    mark,
    op,
    overhead,
    region,
    run_of,
)

from profiler.metrics.ledger import ledger

# Two kernels, 0-20 and 50-60; what lies between is the case. The step is 0-60 on both sides.
_FIRST = [mark("diffuscope/step/0", 0, 60), launch(0, 5, 1), kernel(5, 20, 1)]
_SECOND = [kernel(50, 60, 2)]


def _idle(tmp_path, *events, first=_FIRST, second=_SECOND, window="step"):
    found = ledger(run_of(tmp_path / "run", [*first, *events, *second]), window)
    check_conserved(found)
    idle = idle_us(found)
    # The call that launches the first kernel is the same in each case.
    idle.pop(("launch-bound: eager", "cudaLaunchKernel"), None)
    return idle


def test_launched_long_before_the_gap_is_queued(tmp_path):
    assert _idle(tmp_path, launch(6, 9, 2)) == {("gap with the next launch already queued", ""): 30}


def test_time_between_the_launch_and_its_kernel_is_latency(tmp_path):
    assert _idle(tmp_path, launch(15, 44, 2))[("launch latency", "")] == 6


def test_only_time_inside_an_operator_is_launch_bound(tmp_path):
    idle = _idle(tmp_path, op("aten::mm", 30, 45), launch(40, 44, 2))
    assert idle == {("Python between operators", ""): 10, ("launch-bound: eager", "aten::mm"): 14, ("launch latency", ""): 6}


def test_in_a_compiled_graph_launches_and_the_python_around_them_are_kept_apart(tmp_path):
    idle = _idle(tmp_path, region("3/1", 22, 46), graph(25, 45), op("triton_poi_0", 28, 41), launch(36, 40, 2))
    # 20-22 before the region; 22-28 in it; 28-40 the operator and its launch.
    assert idle == {
        ("Python between operators", "> 3/1"): 2,
        ("Python in a compiled region", "3/1"): 6,
        ("launch-bound: compiled", "3/1"): 12,
        ("launch latency", ""): 10,
    }


def test_guards_are_laid_to_the_region_that_they_lead_to(tmp_path):
    idle = _idle(
        tmp_path,
        lookup(20, 30),
        region("0/0", 30, 46),
        op("Pregraph bytecode", 30, 33),
        graph(33, 45),
        launch(33, 40, 2),
    )
    assert idle[("guard check and cache lookup", "0/0")] == 13
    assert idle[("launch-bound: compiled", "0/0")] == 7


def test_a_recompilation_stands_for_all_that_it_contains(tmp_path):
    idle = _idle(
        tmp_path,
        lookup(20, 22),
        op("dynamo", 22, 38),
        op("entire_frame_compile", 23, 37),
        op("aten::empty", 25, 30),
        region("0/1", 38, 46),
        graph(38, 45),
        launch(38, 42, 2),
    )
    assert idle[("recompilation", "0/1")] == 16
    assert ("launch-bound: eager", "aten::empty") not in idle


def test_after_its_graph_a_region_that_goes_on_is_broken(tmp_path):
    """Region 5/0 runs its graph, then an eager operator and Python, then the resumed rest as region 6/0."""
    idle = _idle(
        tmp_path,
        region("5/0", 6, 48),
        graph(7, 18),
        op("aten::bincount", 22, 26),
        lookup(28, 30),
        region("6/0", 30, 46),
        graph(32, 45),
        launch(34, 40, 2),
    )
    # 20-28 the break: eager operator and Python of it; 28-30 the guards of the rest.
    assert idle == {
        ("graph break", "5/0 > 6/0"): 8,
        ("guard check and cache lookup", "6/0"): 2,
        ("Python in a compiled region", "6/0"): 4,
        ("launch-bound: compiled", "6/0"): 6,
        ("launch latency", ""): 10,
    }


def test_a_resume_function_names_its_break(tmp_path):
    resume = mark("model.py(13): torch_dynamo_resume_in_bad_at_13", 44, 46) | {"cat": "python_function"}
    idle = _idle(tmp_path, region("6/1", 6, 48), graph(7, 18), op("aten::item", 22, 26), resume, launch(30, 40, 2))
    assert idle[("graph break", "6/1 > aten::item torch_dynamo_resume_in_bad_at_13")] == 20


def test_views_after_a_graph_break_nothing(tmp_path):
    idle = _idle(tmp_path, region("6/1", 6, 48), graph(7, 18), op("aten::view", 22, 26), launch(30, 40, 2))
    assert not [label for label, _ in idle if label == "graph break"]


def _waiting(*, until=25):
    """`.item()` that waits for the first kernel: the host stands still from 8 to `until`."""
    return [
        op("aten::item", 7, until + 1),
        op("aten::_local_scalar_dense", 7, until),
        call("cudaStreamSynchronize", 8, until),
    ]


def test_a_gap_that_opens_when_the_host_returns_from_a_wait_is_the_waits(tmp_path):
    """12 us of the host's lead are lost: 5 in the wait's own end, and 12 of what follows; the rest was slow anyway."""
    idle = _idle(tmp_path, *_waiting(), op("aten::mm", 30, 45), launch(40, 44, 2))
    # In the wait 20-25; then 25-37 by the lead of 12 us; 37-44 the operator, 44-50 latency.
    assert idle == {("host wait", "aten::item"): 17, ("launch-bound: eager", "aten::mm"): 7, ("launch latency", ""): 6}


def test_one_launch_in_time_does_not_end_what_the_wait_took(tmp_path):
    events = [
        *[mark("diffuscope/step/0", 0, 200), launch(0, 5, 1), kernel(5, 60, 1)],
        op("aten::item", 6, 62),
        call("cudaStreamSynchronize", 8, 61),
        # The gap after the wait: the wait's, whole.
        launch(65, 68, 2),
        kernel(70, 90, 2),
        # Launched while 2 ran. Without the wait, which held the host up for 52 us, 4 would have been launched in time as well.
        launch(72, 75, 3),
        kernel(90, 100, 3),
        launch(110, 115, 4),
        kernel(120, 130, 4),
    ]
    idle = _idle(tmp_path, first=events, second=[])
    assert idle == {("host wait", "aten::item"): 30}


def test_every_gap_after_it_is_the_waits(tmp_path):
    events = [
        *[mark("diffuscope/step/0", 0, 200), launch(0, 5, 1), kernel(5, 60, 1)],
        op("aten::nonzero", 6, 62),
        call("cudaStreamSynchronize", 8, 61),
        launch(65, 68, 2),
        kernel(70, 75, 2),
        launch(76, 79, 3),
        kernel(80, 90, 3),
    ]
    assert _idle(tmp_path, first=events, second=[]) == {("host wait", "aten::nonzero"): 15}


def test_a_wait_for_an_idle_device_takes_only_its_own_time(tmp_path):
    idle = _idle(tmp_path, op("aten::item", 24, 31), call("cudaStreamSynchronize", 25, 30), launch(40, 44, 2))
    assert idle[("host wait", "aten::item")] == 5
    assert idle[("Python between operators", "")] == 13


def test_a_blocking_copy_to_the_host_is_a_wait(tmp_path):
    """The call of a pageable copy returns only after the copy."""
    first = [mark("diffuscope/step/0", 0, 60), launch(0, 5, 1), kernel(5, 12, 1)]
    reading = [
        op("aten::to", 6, 25),
        op("aten::_to_copy", 6, 25),
        op("aten::copy_", 6, 25),
        call("cudaMemcpyAsync", 7, 24, 3),
        copy(12, 20, 3, "Memcpy DtoH (Device -> Pageable)"),
    ]
    idle = _idle(tmp_path, *reading, launch(40, 44, 2), first=first)
    assert idle[("host wait", "aten::to")] == 4 + 13


def test_a_copy_from_pageable_memory_and_the_wait_for_it(tmp_path):
    first = [mark("diffuscope/step/0", 0, 60), launch(0, 5, 1), kernel(5, 20, 1)]
    reading = [
        op("aten::to", 22, 48),
        call("cudaMemcpyAsync", 25, 30, 3),
        copy(32, 34, 3, "Memcpy HtoD (Pageable -> Device)"),
        call("cudaStreamSynchronize", 31, 36),
    ]
    idle = _idle(tmp_path, *reading, launch(45, 47, 2), first=first)
    # 25-30 the call, 34-36 the end of the wait, and the 3 us by which it held the host, 36-39.
    assert idle[("copy from pageable memory", "aten::to")] == 5 + 2 + 3
    assert idle[("launch latency", "")] == 2 + 3


def test_the_allocator(tmp_path):
    idle = _idle(tmp_path, op("aten::empty", 22, 38), call("cudaMalloc", 24, 36), launch(40, 44, 2))
    assert idle[("allocator", "cudaMalloc")] == 12
    assert idle[("launch-bound: eager", "aten::empty")] == 4


def test_the_profilers_own_overhead(tmp_path):
    idle = _idle(tmp_path, op("aten::mm", 22, 45), launch(24, 44, 2), overhead("Command Buffer Full", 26, 40))
    assert idle[("profiler overhead", "Command Buffer Full")] == 14
    assert idle[("launch-bound: eager", "aten::mm")] == 8


def test_a_gap_inside_the_replay_of_a_cuda_graph(tmp_path):
    first = [mark("diffuscope/step/0", 0, 60), call("cudaGraphLaunch", 0, 5, 1), kernel(5, 20, 1), kernel(26, 40, 1)]
    assert _idle(tmp_path, first=first, second=[]) == {
        ("launch-bound: eager", "cudaGraphLaunch"): 5,
        ("gap inside a CUDA graph's replay", ""): 6,
    }


def test_no_launch_in_the_trace_is_unexplained(tmp_path):
    assert _idle(tmp_path, second=[kernel(50, 60, 99)], window="call") == {
        ("unexplained", "no launch in the trace"): 30,
    }


def test_before_the_first_and_after_the_last_kernel(tmp_path):
    events = [
        mark("diffuscope/call", 0, 100),
        op("aten::mm", 8, 20),
        launch(12, 15, 1),
        kernel(18, 60, 1),
        op("aten::add", 70, 80),
    ]
    idle = _idle(tmp_path, first=events, second=[], window="call")
    assert idle == {
        ("before the first kernel", ""): 8,
        ("launch-bound: eager", "aten::mm"): 7,
        ("launch latency", ""): 3,
        ("after the last kernel", ""): 40,
    }


def test_python_between_two_steps(tmp_path):
    events = [
        mark("diffuscope/step/0", 0, 30),
        launch(0, 5, 1),
        kernel(5, 20, 1),
        mark("diffuscope/step/1", 40, 70),
        launch(45, 50, 2),
        kernel(50, 60, 2),
    ]
    found = ledger(run_of(tmp_path / "run", events))
    check_conserved(found)
    second = {row["label"]: row["total_ns"] for row in found.rows.filter(found.rows["index"] == 1).to_dicts()}
    # 20-30 still in step 0's mark, 30-40 between, 40-45 in step 1's.
    assert second == {
        "GEMM bf16": 10_000,
        "Python between operators": 15_000,
        "Python between steps": 10_000,
        "launch-bound: eager": 5_000,
    }


@pytest.mark.parametrize("second_stream", [7, 20])
def test_overlap_of_streams_is_counted_once_for_what_started_first(tmp_path, second_stream):
    events = [
        mark("diffuscope/step/0", 0, 60),
        launch(0, 5, 1),
        launch(5, 6, 2),
        launch(6, 7, 3),
        kernel(5, 20, 1, "a"),
        kernel(10, 30, 2, "b", stream=second_stream),
        kernel(12, 18, 3, "c", stream=21),
    ]
    found = ledger(run_of(tmp_path / "run", events))
    check_conserved(found)
    busy = found.rows.filter(found.rows["kind"] == "busy")
    assert dict(busy.select("detail", "total_ns").iter_rows()) == {"a": 15_000, "b": 10_000, "c": 0}
    assert busy["count"].to_list() == [1, 1, 1]


def test_without_a_gpu_operators_are_the_busy_time(tmp_path):
    events = [
        mark("diffuscope/step/0", 0, 100),
        op("aten::linear", 10, 40, **{"Input type": ["float"]}),
        op("aten::addmm", 15, 35, **{"Input type": ["float"]}),
        lookup(50, 55),
        region("0/0", 55, 90),
        op("Pregraph bytecode", 56, 58),
        graph(60, 85),
        op("aten::mul", 92, 95, tid=2),
    ]
    found = ledger(run_of(tmp_path / "run", events))
    check_conserved(found)
    assert found.source == "cpu"
    assert dict(found.rows.select("id", "total_ns").iter_rows()) == {
        "busy/GEMM fp32/aten::addmm": 20_000,
        "busy/GEMM fp32/aten::linear": 10_000,
        "busy/compiled region/Torch-Compiled Region: 0/0": 25_000,
        "idle/Python in a compiled region/0/0": 8_000,
        "idle/guard check and cache lookup/0/0": 7_000,
        "idle/Python between operators/> 0/0": 20_000,
        "idle/Python between operators/0/0 >": 10_000,
    }


def test_a_blocking_copy_and_the_synchronisation_after_it_are_one_wait(tmp_path):
    events = [
        *_FIRST,
        op("aten::item", 6, 30),
        call("cudaMemcpyAsync", 7, 24, 3),
        copy(20, 22, 3, "Memcpy DtoH (Device -> Pageable)"),
        call("cudaStreamSynchronize", 25, 28),
        launch(40, 44, 2),
        *_SECOND,
    ]
    waits = ledger(run_of(tmp_path / "run", events)).waits
    assert waits.select("start_ns", "end_ns", "lead_ns", "detail", "index").rows() == [(7_000, 28_000, 15_000, "aten::item", 0)]


def test_what_a_thread_did_before_the_trace_knows_of_it_is_unexplained(tmp_path):
    """The second kernel comes from a thread whose first sign of life is its launch."""
    assert _idle(tmp_path, launch(40, 44, 2, tid=9)) == {
        ("unexplained", "the launching thread left no trace"): 20,
        ("launch latency", ""): 6,
    }


def test_all_gaps_together_get_no_more_than_the_lead_that_a_wait_took(tmp_path):
    """The host stood still for 5 us; the code after it is launch-bound with gaps of 15 and 10 us."""
    events = [
        *[mark("diffuscope/step/0", 0, 200), launch(0, 5, 1), kernel(5, 20, 1)],
        op("aten::item", 14, 21),
        call("cudaStreamSynchronize", 15, 20),
        launch(30, 35, 2),
        kernel(35, 40, 2),
        launch(45, 50, 3),
        kernel(50, 60, 3),
    ]
    idle = _idle(tmp_path, first=events, second=[])
    assert idle.pop(("host wait", "aten::item")) == 5
    assert idle == {("Python between operators", ""): 10}

"""Rules about idle time: what the host does from 400 to 600 us of a step of 1000 us is the case."""

from __future__ import annotations

import pytest
from ledger_traces import call, copy, graph, kernel, launch, lookup, mark, op, region
from small_runs import NVJET, busy, found, idle, only

from profiler.report.diagnose import diagnose

ITEM = [op("aten::item", 380, 411), op("aten::_local_scalar_dense", 380, 411), call("cudaStreamSynchronize", 381, 410)]
# The wait ends at 410: 10 us late; then the host, which was ahead by 19 us when it began to wait, needs as long again.
_LAUNCHED = [op("aten::mm", 440, 590), launch(580, 590, 2)]


def _per_step(run, rule):
    return [(each.cost_ns, each.finding.count, each.finding.window) for each in found(run, rule)]


def test_an_item_in_a_step(run_with):
    run = run_with(idle(*ITEM, *_LAUNCHED), untraced={"dur_ns": 1_000_000})
    each = only(run, "host-sync")
    assert each.finding.title == "the host waits for the GPU once a step: aten::item"
    assert each.finding.change == "keep the value on the GPU: remove .item(), float(tensor), or a branch on a tensor"
    assert each.rows == ["idle/host wait/aten::item"]
    assert (each.cost_ns, each.finding.count) == (29_000, 1)
    assert (each.saving_low_ns, each.saving_high_ns, each.severity) == (pytest.approx(17_400), 29_000, "medium")


def test_idle_time_may_be_nothing_where_no_untraced_time_is_known(run_with):
    each = only(run_with(idle(*ITEM, *_LAUNCHED)), "host-sync")
    assert (each.cost_ns, each.saving_low_ns, each.saving_high_ns, each.severity) == (29_000, 0, 29_000, "low")


def test_a_wait_once_in_three_steps_is_not_one_a_step(run_with):
    def step(number, *events):
        at = 1000 * number
        shifted = [each | {"ts": each["ts"] + at} for each in events]
        marks = [mark(f"diffuscope/step/{number}", at, at + 1000), launch(at, at + 1, 10 * number)]
        return [
            *marks,
            kernel(at + 1, at + 400, 10 * number, NVJET),
            *shifted,
            kernel(at + 600, at + 1000, 10 * number + 1, NVJET),
        ]

    launched = [op("aten::mm", 440, 590), launch(580, 590, 1)]
    later = [op("aten::mm", 440, 590), launch(580, 590, 11)], [op("aten::mm", 440, 590), launch(580, 590, 21)]
    run = run_with([*step(0, *ITEM, *launched), *step(1, *later[0]), *step(2, *later[1])], timed={"steps": 30})
    each = only(run, "host-sync")
    assert each.finding.title == "the host waits for the GPU once in 30 steps: aten::item"
    assert each.finding.count == 1
    # It is the first step's alone: a call of 30 steps pays for it once.
    assert each.cost_ns == pytest.approx(29_000 / 30)
    assert each.per_call_ns == pytest.approx(29_000)


def test_a_wait_that_costs_next_to_nothing_is_no_finding(run_with):
    # 799 us are busy: untraced the GPU stood still for 10 ns.
    assert not found(run_with(idle(*ITEM, *_LAUNCHED), untraced={"dur_ns": 799_010}), "host-sync")
    assert only(run_with(idle(*ITEM, *_LAUNCHED), name="b", untraced={"dur_ns": 990_000}), "host-sync")


def test_a_wait_between_steps_is_none_inside_them(run_with):
    after = [op("aten::to", 1001, 1100), op("aten::copy_", 1001, 1100), call("cudaStreamSynchronize", 1010, 1090)]
    assert not found(run_with([*busy([(NVJET, 999)]), *after]), "host-sync")


def test_one_small_wait_for_the_result_of_the_decode_is_no_fault(run_with):
    decode = busy([(NVJET, 9999)], "diffuscope/decode", at=1000, first=50)
    read = [op("aten::to", 10990, 11010), call("cudaStreamSynchronize", 10991, 11009)]
    assert not found(run_with([*busy([(NVJET, 999)]), *decode, *read]), "host-sync")


def test_the_place_of_a_wait_is_where_an_operator_waits_not_where_it_only_runs(run_with):
    """`aten::to` runs in the text encoder, in `clean` of the step, and in `faulty`: only the last waits inside the step."""

    def frame(name, start, end):
        return mark(name, start, end) | {"cat": "python_function"}

    places = [
        mark("diffuscope/text", 0, 100),
        frame("encode.py(1): encode", 0, 90),
        op("aten::to", 10, 50),
        call("cudaStreamSynchronize", 20, 40),
        mark("diffuscope/step/0", 100, 1000),
        frame("model.py(7): clean", 110, 200),
        *[op("aten::to", at, at + 10) for at in (120, 140, 160)],
        frame("nn.Module: Block_0", 300, 420),
        frame("model.py(20): faulty", 310, 400),
        frame("torch/_tensor.py(9): cpu", 315, 395),
        op("aten::to", 320, 390),
        call("cudaStreamSynchronize", 330, 380),
    ]
    waits = [op("aten::to", 380, 411), call("cudaStreamSynchronize", 381, 410)]
    each = only(run_with(idle(*waits, *_LAUNCHED), places=places), "host-sync")
    assert [place.to_dict() for place in each.finding.where] == [
        {"file": "model.py", "line": 20, "module": "Block_0", "function": "faulty"}
    ]


def test_cuda_malloc_inside_a_step(run_with):
    run = run_with(idle(op("aten::empty", 420, 560), call("cudaMalloc", 430, 550), launch(580, 590, 2)))
    each = only(run, "allocator-in-step")
    assert (each.finding.title, each.cost_ns) == ("the allocator asks the driver for memory inside a step", 120_000)
    assert each.finding.evidence == ("120 us idle a step as traced: cudaMalloc",)
    assert not found(run_with(idle(op("aten::empty", 420, 560), launch(580, 590, 2)), name="b"), "allocator-in-step")


def test_memory_asked_for_while_the_gpu_works_costs_nothing(run_with):
    ahead = idle(call("cudaMalloc", 20, 140), launch(150, 151, 2))
    assert not found(run_with(ahead), "allocator-in-step")


def _pageable(kind):
    return idle(
        op("aten::to", 422, 548),
        call("cudaMemcpyAsync", 425, 430, 3),
        copy(432, 434, 3, f"Memcpy HtoD ({kind} -> Device)"),
        call("cudaStreamSynchronize", 431, 436),
        launch(545, 547, 2),
    )


def test_a_copy_from_pageable_memory(run_with):
    each = only(run_with(_pageable("Pageable")), "pageable-copy")
    # The call, the end of the wait, what the wait held the host (see the ledger's own test), and the copy itself.
    assert (each.finding.title, each.cost_ns) == ("a copy from pageable memory inside a step", 12_000)
    assert not found(run_with(_pageable("Pinned"), name="b"), "pageable-copy")


def test_a_whole_call_without_steps_may_copy_its_prompt(run_with):
    """Where nothing tells steps apart, one small copy in a long call is no fault inside a step."""
    events = [each for each in _pageable("Pageable") if each["name"] != "diffuscope/step/0"]
    long = [launch(1000, 1001, 9), kernel(1001, 101_001, 9, NVJET)]
    assert not found(run_with([*events, *long]), "pageable-copy")
    each = only(run_with(events, name="b"), "pageable-copy")
    assert (each.finding.window, each.finding.title) == ("call", "a copy from pageable memory inside a call")


def _two_steps(between):
    """Two steps of 1000 us; the GPU waits `between` us for Python between them."""
    second = 1000 + between
    return [
        *busy([(NVJET, 999)]),
        mark("diffuscope/step/1", second, second + 1000),
        launch(second, second + 1, 60),
        kernel(second + 1, second + 1000, 60, NVJET),
    ]


def test_python_between_steps(run_with):
    each = only(run_with(_two_steps(200), timed={"steps": 28}), "idle-between-steps")
    assert (each.finding.title, each.cost_ns) == ("the GPU idles for the Python before a step", pytest.approx(200_000 * 27 / 28))
    # 28 steps a call.
    assert each.per_call_ns == 28 * each.cost_ns
    # The second step has the gap, and stands for 27 of 28.
    assert each.share == pytest.approx(200 * 27 / (1000 + 1200 * 27))
    assert not found(run_with(_two_steps(15), name="b"), "idle-between-steps")


def test_eager_launches(run_with):
    each = only(run_with(idle(op("aten::mm", 410, 595), launch(580, 590, 2)), untraced={"dur_ns": 900_000}), "launch-bound")
    # Idle are 201 us of 1000; untraced 900 leave 101 of them. All of it waits for this operator or
    # for the latency of its launch.
    assert each.cost_ns == 101_000
    assert each.saving_low_ns == pytest.approx(0.6 * each.cost_ns)
    assert each.finding.title == "eager operators are launched more slowly than the GPU runs them"
    assert each.finding.change.startswith("compile it")
    assert each.finding.evidence == ("0.20 ms idle a step as traced, 0.10 ms in untraced time",)


@pytest.mark.parametrize(("launch_us", "slow"), [(6, False), (10, True)])
def test_a_launch_says_whether_the_host_is_slow(run_with, launch_us, slow):
    # 60 kernels of 5 us, each launched 20 us after the last.
    many = [(20 * number, 100 + number) for number in range(60)]
    events = [each for at, id in many for each in (launch(at, at + launch_us, id), kernel(at + 12, at + 17, id, NVJET))]
    each = only(run_with([mark("diffuscope/step/0", 0, 1200), op("aten::mm", 0, 1200), *events]), "launch-bound").finding
    assert (
        each.evidence[-1] == f"a launch takes the host {launch_us:.1f} us as traced; hosts of an H100 that kept ahead took 5 to 8"
    )
    assert each.change.startswith("look at the host first: ") is slow


def _compiled(*more):
    """The second kernel is launched late inside a compiled graph."""
    inside = [region("3/1", 405, 598), graph(410, 597), op("triton_poi_0", 412, 595)]
    return idle(*inside, *more, launch(580, 590, 2))


def test_compiled_launches(run_with):
    each = only(run_with(_compiled()), "launch-bound")
    # 5 us of Python before the region; 400-405.
    assert each.cost_ns == 195_000  # with the latency of its launch
    assert each.finding.title == "compiled code is launched more slowly than the GPU runs it"
    assert "reduce-overhead" in each.finding.change


def test_an_idle_share_below_a_hundredth_is_what_any_run_has(run_with):
    assert not found(run_with(busy([(NVJET, 999)])), "launch-bound")


def test_text_encoders_are_not_compiled_by_an_option(run_with):
    text = [mark("diffuscope/text", 2000, 3000), launch(2000, 2001, 80), kernel(2001, 2400, 80, NVJET)]
    text += [op("aten::mm", 2410, 2595), launch(2580, 2590, 81), kernel(2600, 3000, 81, NVJET)]
    each = only(run_with([*busy([(NVJET, 999)]), *text]), "launch-bound")
    assert each.finding.window == "text"
    assert "--compile" not in each.finding.change


def _linears(around=None, syncs=2):
    """A step with a compiled region, and an eager quantized Linear that waits."""
    gemm = op("aten::_int_mm", 415, 590, **{"Input Dims": [[4096, 3072], [3072, 64]]})
    waits = [call("cudaStreamSynchronize", 420 + 10 * each, 425 + 10 * each) for each in range(syncs)]
    inside = around or [op("torchao::int8_linear", 412, 595)]
    return idle(region("0/0", 2, 100), graph(3, 90), *inside, gemm, *waits, launch(580, 590, 2))


def test_quantized_linears_outside_the_compiled_regions(run_with):
    run = run_with(_linears())
    each = only(run, "eager-quantized-linear")
    assert each.finding.title == "1 quantized Linears run eagerly outside the compiled regions and make 2 host syncs a step"
    assert each.finding.evidence[0] == "(M, K, N): (4096, 3072, 64)"
    assert each.finding.count == 1
    # All of the idle time but Python's before the operator, 400-412, and what launching takes.
    assert set(each.also) == {"host-sync", "launch-bound"}
    assert not found(run, "host-sync")


def test_no_eager_quantized_linear(run_with):
    held = [region("1/0", 410, 598), graph(411, 597)]
    assert not found(run_with(_linears(around=held), name="a"), "eager-quantized-linear")
    # Nothing is compiled: eager on purpose.
    eager = [each for each in _linears() if "Region" not in each["name"] and "##" not in each["name"]]
    assert not found(run_with(eager, name="b"), "eager-quantized-linear")


def test_no_row_is_counted_twice_where_a_trace_has_no_steps(run_with):
    """`step` and `call` then are one window: its rows have one owner."""
    events = [each for each in idle(*ITEM, *_LAUNCHED, lookup(430, 440)) if not each["name"].startswith("diffuscope")]
    report = diagnose(run_with(events))
    assert {each.finding.window for each in report.findings} == {"call"} == {report.window}
    granted = [row for each in report.findings for row in each.rows]
    assert len(granted) == len(set(granted))
    assert sum(each.cost_ns for each in report.findings) <= report.untraced_ns

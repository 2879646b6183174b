"""Rules over the compile log, joined with a step of 1000 us."""

from __future__ import annotations

import pytest
from compile_logs import CLOCK_NS, artifact, fx_cache, graph_break, ids, metrics, record, start
from ledger_traces import graph, kernel, launch, lookup, mark, op, region
from small_runs import NVJET, busy, found, idle, only

from profiler.report.diagnose import diagnose
from profiler.rundir.manifest import Phase

SECOND = 1_000_000


def _compiled(compile_id="0/0", key="fa", at_us=-5 * SECOND, dur_us=500_000, **more):
    """Records of one compile, before the trace."""
    return [start(compile_id), fx_cache("miss", key, compile_id), metrics(compile_id, at_us, dur_us, **more)]


def _broken_step(*more):
    """Region 5/0 runs its graph, 400-500 eager operators of the break, 500-520 the guards of 6/0, which launches until 600."""
    return idle(
        region("5/0", 2, 598),
        graph(3, 300, "fa"),
        op("aten::bincount", 405, 490),
        lookup(500, 520),
        region("6/0", 520, 596),
        graph(525, 595, "fb"),
        op("triton_poi_0", 525, 594),
        launch(580, 590, 2),
        *more,
    )


_BREAK_LOG = [
    start("5/0"),
    graph_break("5/0"),
    fx_cache("miss", "fa", "5/0"),
    metrics("5/0", -5 * SECOND),
    *_compiled("6/0", "fb", -4 * SECOND, co_name="torch_dynamo_resume_in_forward_at_13"),
]


def test_a_graph_break_its_place_and_its_price(run_with):
    run = run_with(_broken_step(), _BREAK_LOG, untraced={"dur_ns": 1_000_000})
    each = only(run, "graph-break")
    assert each.finding.title == "graph break, once a step: GB0124 Unsupported Tensor.item() call"
    assert (str(each.finding.where[0]), each.finding.count) == ("model.py:13 in forward", 1)
    assert each.finding.change == "Capture scalars."
    assert each.finding.evidence[0] == "the line: if x.item() > 1:"
    # 400-500 stopped, 500-520 the guards of the rest; and 5 us of Python before the graph of the rest.
    assert each.cost_ns == pytest.approx(125_000)
    assert (each.severity, each.share) == ("high", 0.125)
    assert not [
        other for other in diagnose(run).findings if other.finding.rule != "graph-break" and set(other.rows) & set(each.rows)
    ]


def test_lost_fusion_is_in_the_saving_and_never_in_the_cost(run_with):
    """1 MiB is written before the break and read after it, at 1000 GB/s."""
    shaped = op("triton_poi_fused_0", 50, 60, **{"Input Dims": [[1024, 512]], "Input type": ["c10::BFloat16"]})
    ceilings = {"ceilings": {"copy_gbs": 1000.0}}
    each = only(run_with(_broken_step(shaped), _BREAK_LOG, untraced={"dur_ns": 1_000_000}, environment=ceilings), "graph-break")
    assert each.cost_ns == pytest.approx(125_000)
    assert each.saving_low_ns == pytest.approx(68_750)
    assert each.saving_high_ns == pytest.approx(112_500 + 2 * 2**20 / 1000)
    assert each.finding.evidence[-1].startswith("1.0 MiB cross it each time: at most 2 us of lost fusion")


def test_a_break_that_only_the_warm_up_met_costs_nothing(run_with):
    """Its generation ran, but in the trace its region is whole."""
    log = [*_compiled("0/0", "fa"), start("1/0"), graph_break("1/0"), metrics("1/0", -3 * SECOND)]
    each = only(run_with(idle(region("0/0", 2, 300), graph(3, 290, "fa"), launch(580, 590, 2)), log), "graph-break")
    assert each.finding.title.startswith("graph break, not in the trace: GB0124")
    assert (each.cost_ns, each.finding.count, each.rows) == (0, 0, [])


def test_a_break_in_the_decode_is_counted_there(run_with):
    at = 2000
    decode = [mark("diffuscope/decode", at, at + 1000), launch(at, at + 1, 70), kernel(at + 1, at + 400, 70, NVJET)]
    decode += [region("5/0", at + 2, at + 598), graph(at + 3, at + 300, "fa"), op("aten::bincount", at + 405, at + 490)]
    decode += [region("6/0", at + 520, at + 596), graph(at + 525, at + 595, "fb"), launch(at + 580, at + 590, 71)]
    decode += [kernel(at + 600, at + 1000, 71, NVJET)]
    each = only(run_with([*busy([(NVJET, 999)]), *decode], _BREAK_LOG), "graph-break")
    assert (each.finding.window, each.finding.title.split(":")[0]) == ("decode", "graph break, once a decode")


def test_what_explain_alone_compiled_is_no_break_of_the_run(run_with):
    """`explain()` first: its ids start again for the run, so it is a generation of its own."""
    explained = [start("0/0"), graph_break("0/0"), metrics("0/0", -9 * SECOND)]
    run = run_with(idle(region("0/0", 2, 300), graph(3, 290, "fa"), launch(580, 590, 2)), [*explained, *_compiled()])
    assert not found(run, "graph-break")


def test_without_a_log_the_resumed_function_tells(run_with):
    resumed = mark("model.py(13): torch_dynamo_resume_in_bad_at_13", 521, 595) | {"cat": "python_function"}
    each = only(run_with(_broken_step(resumed)), "graph-break")
    assert (str(each.finding.where[0]), each.finding.count) == ("model.py:13 in bad", 1)


def test_an_eager_trace_has_no_break(run_with):
    run = run_with(idle(op("aten::mm", 410, 590), launch(580, 590, 2)))
    assert not found(run, "graph-break")
    assert ("recompile", "no compile log") in diagnose(run).not_checked


def _recompiled(number=1, at_us=200, dur_us=150_000, expected=3, actual=4):
    reason = f"0/{number - 1}: tensor 'x' size mismatch at index 0. expected {expected}, actual {actual}"
    name = f"0/{number}"
    return [start(name), artifact("recompile_reasons", reason, name), *_compiled(name, f"f{number}", at_us, dur_us)[1:]]


def _recompiling_step():
    """From 410 to 560 dynamo compiles 0/1 anew."""
    return idle(
        region("0/0", 2, 300),
        graph(3, 290, "fa"),
        lookup(405, 410),
        op("dynamo", 410, 560),
        region("0/1", 560, 598),
        graph(561, 597, "f1"),
        launch(580, 590, 2),
    )


def test_a_recompile_inside_a_step(run_with):
    run = run_with(_recompiling_step(), [*_compiled(), *_recompiled(at_us=410, dur_us=150)], untraced={"dur_ns": 1_000_000})
    each = only(run, "recompile")
    assert each.finding.title == "forward is compiled again: tensor 'x' size mismatch at index 0"
    assert (each.cost_ns, each.finding.once, each.finding.count) == (150_000, False, 1)
    assert (each.saving_low_ns, each.saving_high_ns, each.severity) == (127_500, 165_000, "high")
    assert each.finding.evidence == ("1 compile took 0.00 s", "the guard: 3 before, 4 now")
    assert str(each.finding.where[0]) == "model.py:10 in forward"


def test_a_recompile_after_the_trace_costs_its_seconds_once(run_with):
    run = run_with(
        idle(region("0/0", 2, 300), graph(3, 290, "fa"), launch(580, 590, 2)), [*_compiled(), *_recompiled(at_us=SECOND)]
    )
    each = only(run, "recompile")
    assert (each.finding.once, each.cost_ns, each.per_call_ns, each.severity) == (True, 150_000_000, 150_000_000, "low")
    assert (each.saving_low_ns, each.saving_high_ns) == (127_500_000, 165_000_000)


def test_a_second_version_in_the_first_call_is_compiling(run_with):
    """Another stride in the second block, say."""
    log = [*_compiled(), *_recompiled(at_us=-4 * SECOND)]
    assert not found(run_with(_recompiling_step(), log), "recompile")


def test_many_versions_in_the_first_call_are_not(run_with):
    log = _compiled()
    for number in (1, 2, 3):
        log += _recompiled(number, at_us=-4 * SECOND + number, expected=number, actual=number + 1)
    each = only(run_with(_recompiling_step(), log), "recompile")
    assert (each.finding.count, each.finding.once, each.cost_ns) == (3, True, 450_000_000)


def test_no_second_of_compiling_is_counted_twice(run_with):
    """The recompile that has a finding of its own is not in the time of compiling as well."""
    log = [*_compiled(dur_us=20 * SECOND, at_us=-90 * SECOND), *_recompiled(at_us=-60 * SECOND, dur_us=11 * SECOND)]
    warmup = {"first_call_ns": 1_000_000_000}
    phases = [Phase(name="warmup", start_ns=CLOCK_NS - 95 * 10**9, end_ns=CLOCK_NS - 10**9, detail=warmup)]
    report = diagnose(run_with(_recompiling_step(), log, phases=phases))
    once = {each.finding.rule: each.cost_ns for each in report.findings if each.finding.once}
    assert once == {"compile-time": 20e9, "recompile": 11e9}


def _limited(value=1):
    reason = f"Dynamo recompile limit exceeded, exceeding the recompile_limit cache size limit (currently set to {value})."
    hit = {"fail_type": "Unsupported", "has_guarded_code": None, "graph_op_count": None, "fail_reason": reason}
    guard = "0/0: tensor 'x' size mismatch at index 0. expected 3, actual 4"
    return [artifact("recompile_reasons", guard, "0/1"), start("0/1"), metrics("0/1", -SECOND, recompile_reason=guard, **hit)]


def _eager_after(compiled=True):
    """What fell back: an addition of 200 us that is not fused, and 150 us under operators."""
    add = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>(int)"
    ran = [region("0/0", 2, 100), graph(3, 90, "fa")] if compiled else []
    first = [mark("diffuscope/step/0", 0, 1000), launch(0, 1, 1), kernel(1, 400, 1, NVJET), *ran]
    return [
        *first,
        op("aten::add", 400, 550),
        launch(500, 550, 2),
        kernel(550, 750, 2, add),
        launch(551, 552, 3),
        kernel(750, 1000, 3),
    ]


def test_the_recompile_limit_costs_what_runs_eagerly_since_then(run_with):
    run = run_with(_eager_after(), [*_compiled(), *_limited()], untraced={"dur_ns": 1_000_000})
    each = only(run, "recompile-limit")
    assert each.finding.title == "forward hit the recompile limit (1) and runs eagerly since then"
    assert each.cost_ns == pytest.approx(351_000, abs=1_000)
    assert (
        each.finding.evidence[-1] == "the last guard that failed: 0/0: tensor 'x' size mismatch at index 0. expected 3, actual 4"
    )
    assert diagnose(run).findings[0].finding.rule == "recompile-limit"
    assert not found(run_with(_eager_after(), _compiled(), name="b"), "recompile-limit")


def test_a_limit_that_explain_hit_is_not_the_runs(run_with):
    explained = [*_compiled(key="fz", at_us=-20 * SECOND), *_limited()]
    again = _compiled(at_us=-5 * SECOND)
    assert not found(run_with(_eager_after(), [*explained, *again]), "recompile-limit")


def _skip(reason):
    late = {"compile_id": "0/0", "cudagraph_skip_reason": reason}
    return [*_compiled(), record("compilation_metrics_runtime", late, **ids("0/0"))]


def test_skipped_cuda_graphs_cost_the_launches(run_with):
    step = idle(region("0/0", 405, 598), graph(410, 597, "fa"), op("triton_poi_0", 412, 595), launch(580, 590, 2))
    reason = "skipping cudagraphs due to mutated inputs (1 instances)\n  at model.py:13"
    each = only(run_with(step, _skip(reason)), "cudagraph-skip")
    assert each.finding.title == "CUDA graphs are skipped for 1 graph: skipping cudagraphs due to mutated inputs (1 instances)"
    assert (each.cost_ns, each.also) == (185_000, ["launch-bound"])
    assert not found(run_with(step, _compiled(), name="b"), "cudagraph-skip")


def test_time_of_compiling(run_with):
    step = idle(region("0/0", 2, 300), graph(3, 290, "fa"), launch(580, 590, 2))
    each = only(run_with(step, _compiled(at_us=-60 * SECOND, dur_us=20 * SECOND), spec={"compile": "regional"}), "compile-time")
    assert (each.finding.title, each.cost_ns, each.finding.once, each.severity) == ("compiling took 20 s", 20e9, True, "low")
    assert "--compile regional" not in each.finding.change
    short = _compiled(at_us=-60 * SECOND, dur_us=9 * SECOND)
    assert not found(run_with(step, short, name="b"), "compile-time")


def test_a_log_with_half_a_record_and_unknown_artifacts(run_with):
    log = [
        *_BREAK_LOG,
        artifact("some_later_artifact", '{"unknown": [1, 2', "5/0"),
        record("a_later_kind", {"x": 1}),
        metrics("5/0", -SECOND, co_firstlineno="ten", co_name=["no", "name"]),
        record("compilation_metrics", "no mapping"),
        '\x00\xff garbage \n{"half": ',
        graph_break("6/0")[:80],
    ]
    run = run_with(_broken_step(), log)
    each = only(run, "graph-break")
    assert (str(each.finding.where[0]), each.finding.count) == ("model.py:13 in forward", 1)

"""What each line of a budget measures: on the runs kept in `traces/`, and on runs by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from profiler.report.budget_lines import LINES
from profiler.report.budget_measure import Measured, Subject
from profiler.rundir.manifest import Failure, Phase
from profiler.tables.run import Run

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / each) for each in ("metrics", "metrics/memory", "rules")]
_GIB = 1 << 30
_NAMES = {name: ROOT / "traces" / f"flux-dev-{name}" for name in ("bf16", "fp8dqrow-regional", "int8dq-regional", "batch64-oom")}


@pytest.fixture(scope="module")
def golden():
    """The kept runs, each against bf16."""
    base = Run.open(_NAMES["bf16"])
    return {name: Subject(Run.open(path), base) for name, path in _NAMES.items()}


def _of(name: str, run: Run, base: Run | None = None) -> Measured:
    return LINES[name].measure(Subject(run, base))


GOLDEN = {
    "inference_peak_gib": (33.848210, 22.777479, 22.780334),
    "load_peak_gib": (31.523221, 32.182421, 31.813286),
    "quantize_peak_gib": (31.434119, 32.182421, 31.813286),
    "since_start_peak_gib": (33.848210, 32.182421, 31.813286),
    "model_gib": (31.434119, 20.363387, 20.366243),
    "call_ms": (5268.215841, 2978.223129, 4451.807498),
    "time_ratio": (1.0, 2978.223129 / 5268.215841, 4451.807498 / 5268.215841),
    "unexplained_share": (0.0, 0.0, 0.0),
    "host_syncs_in_step": (0.0, 0.0, 0.0),
    "graph_breaks": (0.0, 0.0, 0.0),
    "recompiles": (0.0, 1.0, 1.0),
    "recompiles_in_step": (0.0, 0.0, 0.0),
    "sqnr_db.last_latents": (float("inf"), 21.911386, 30.192136),
    "sqnr_db.first_transformer_output": (float("inf"), 19.149243, 27.624339),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_numbers_of_the_kept_runs(golden, name):
    for run, value in zip(("bf16", "fp8dqrow-regional", "int8dq-regional"), GOLDEN[name], strict=True):
        assert LINES[name].measure(golden[run]).value == pytest.approx(value, rel=1e-6), run


def test_the_floor_is_the_one_that_diagnose_tells(golden):
    from profiler.report.diagnose import diagnose, to_json

    subject = golden["fp8dqrow-regional"]
    ratio = LINES["floor_ratio"].measure(subject).value
    assert ratio == to_json(diagnose(subject.run))["floor"]["ratio"]
    assert 1.2 < ratio < 1.4


def test_what_a_reader_should_know_stands_beside_the_number(golden):
    subject = golden["fp8dqrow-regional"]
    notes = {
        "inference_peak_gib": "of the traced call",
        "since_start_peak_gib": "reached in quantize",
        "load_peak_gib": "loading alone 31.523 GiB",
        "call_ms": "median of 3, spread 34.3 ms, 28 steps",
        "recompiles": "tensor 'hidden_states' stride mismatch at index 0",
    }
    assert {name: LINES[name].measure(subject).note for name in notes} == notes
    assert LINES["graph_breaks"].measure(golden["bf16"]).note == "nothing was compiled"
    assert LINES["sqnr_db.last_latents"].measure(golden["bf16"]).note == "equal to the bit"


def test_an_out_of_memory_run_is_measured_as_far_as_it_came(golden):
    subject = golden["batch64-oom"]
    assert LINES["since_start_peak_gib"].measure(subject).value == pytest.approx(60.441101, rel=1e-6)
    whys = {
        "inference_peak_gib": "the run holds no measured call",
        "call_ms": "the run has no timed calls",
        "time_ratio": "the runs cannot be compared: batch 1 -> 64, steps 28 -> 2",
        "graph_breaks": "no compile log",
        "psnr_db": "batch is 1 in the base and 64 here",
    }
    assert {name: LINES[name].measure(subject) for name in whys} == {name: Measured(None, why) for name, why in whys.items()}


def test_growth_needs_three_steps(golden, tmp_path):
    from test_growth import _call, write_run

    two = LINES["step_growth_mib"].measure(golden["fp8dqrow-regional"])
    assert two == Measured(None, "growth needs 3 steps, and the memory phase's call has 2 (--trace-steps 3)")
    leaking = _of("step_growth_mib", write_run(tmp_path / "leak", _call(4, leaks=3 << 20)))
    assert (leaking.value, leaking.at_least) == (3.0, "")
    assert _of("step_growth_mib", write_run(tmp_path / "none", _call(4))).value == 0.0
    tape = _call(4)
    full = Phase(name="memory", start_ns=0, end_ns=10**12, detail={"max_entries": len(tape.events)})
    found = _of("step_growth_mib", write_run(tmp_path / "full", tape, phases=[full]))
    assert (found.value, found.at_least[:24]) == (0.0, "the ring buffer was full")


@pytest.mark.parametrize("name", ["time_ratio", "psnr_db", "sqnr_db.first_latents"])
def test_without_a_base_nothing_is_held_against_it(golden, name):
    assert _of(name, golden["bf16"].run) == Measured(None, "no base run (--base RUN, or base = in the budget)")


def test_a_ratio_says_what_is_not_sure(tmp_path):
    from small_runs import write_run

    def run(name, *times_ms, **spec):
        timed = {"iterations_ns": [each * 1e6 for each in times_ms], "steps": 2}
        return write_run(tmp_path / name, timed=timed, spec={"model": "flux-tiny", "steps": 2, **spec})

    base = run("base", 100, 110, 120)
    near = _of("time_ratio", run("near", 90, 100, 104), base)
    assert near.value == pytest.approx(100 / 110)
    assert near.note == "no more than the calls of one run differ; not known to be the same: device, GPU, torch"
    other = _of("time_ratio", run("other", 50, batch=4), base)
    assert other == Measured(None, "the runs cannot be compared: batch 1 -> 4")
    none = write_run(tmp_path / "none", spec={"model": "flux-tiny", "steps": 2})
    assert _of("time_ratio", base, none) == Measured(None, f"{none.path} has no timed calls")
    assert _of("time_ratio", none, base) == Measured(None, f"{none.path} has no timed calls")


def test_why_a_size_is_not_known(tmp_path):
    from small_runs import write_run

    cpu = write_run(tmp_path / "cpu", kind="record", environment={"device": "cpu"})
    assert _of("model_gib", cpu).note == "peaks are counted on a CUDA device, and this run is of a CPU"
    assert _of("model_gib", write_run(tmp_path / "i")).note == "an import does not say what the allocator counted"
    load = Phase(name="load", start_ns=0, end_ns=1, alloc_bytes=2 * _GIB, peak_bytes=3 * _GIB)
    half = write_run(tmp_path / "half", kind="record", status="oom", failure=Failure(type="", message=""), phases=[load])
    assert (_of("model_gib", half).value, _of("load_peak_gib", half).value) == (2.0, 3.0)
    assert _of("quantize_peak_gib", half).note == "the run holds no measured quantize"


def test_every_wait_that_begins_in_a_step_counts(tmp_path):
    from ledger_traces import call, launch, op
    from small_runs import idle, write_run

    item = [op("aten::item", 380, 411), call("cudaStreamSynchronize", 381, 410), launch(580, 590, 2)]
    waits = _of("host_syncs_in_step", write_run(tmp_path / "one", idle(*item)))
    assert waits == Measured(1.0, "aten::item")
    second = [op("aten::nonzero", 420, 431), call("cudaStreamSynchronize", 421, 430)]
    waits = _of("host_syncs_in_step", write_run(tmp_path / "two", idle(*item, *second)))
    assert waits == Measured(2.0, "aten::item, aten::nonzero")
    assert _of("host_syncs_in_step", write_run(tmp_path / "cpu", [op("aten::mm", 0, 9)])).note == "nothing ran on a GPU"


def test_the_worst_step_counts_and_what_lies_outside_does_not(tmp_path):
    from ledger_traces import call, op
    from small_runs import NVJET, busy, write_run

    steps = [*busy([(NVJET, 999)]), *busy([(NVJET, 999)], "diffuscope/step/1", at=1000, first=9)]
    inside = (300, 1300, 1400)
    late = [op("aten::item", at, at + 20) for at in inside]
    late += [call("cudaStreamSynchronize", at + 1, at + 19) for at in inside]
    after = [op("aten::to", 2010, 2040), call("cudaStreamSynchronize", 2011, 2039)]
    assert _of("host_syncs_in_step", write_run(tmp_path / "run", [*steps, *late, *after])).value == 2.0


def test_the_share_that_nothing_explains(tmp_path):
    """The second kernel comes from a thread whose first sign of life is its launch: 180 of 1000 us until then."""
    from ledger_traces import kernel, launch, op
    from small_runs import idle, write_run

    step = idle(launch(580, 590, 2, tid=9))
    traced = "as traced: no untraced time is known"
    assert _of("unexplained_share", write_run(tmp_path / "step", step)) == Measured(pytest.approx(0.18), traced)
    priced = _of("unexplained_share", write_run(tmp_path / "priced", step, untraced={"dur_ns": 900_000}))
    # 799 us are busy: of 201 us idle as traced 101 stand, and less of those in which events were recorded.
    assert (priced.note, priced.at_least) == ("", "")
    assert 180 * 101 / 201 / 900 < priced.value < 101 / 900
    whole = [launch(0, 1, 1), kernel(1, 400, 1), kernel(600, 1000, 99)]
    of_call = f"of the whole call: the trace has no steps; {traced}"
    assert _of("unexplained_share", write_run(tmp_path / "call", whole)) == Measured(pytest.approx(0.2), of_call)
    cpu = _of("unexplained_share", write_run(tmp_path / "cpu", [op("aten::mm", 0, 9), op("aten::mm", 20, 29)]))
    assert cpu == Measured(None, "nothing ran on a GPU: between a CPU's operators all time is Python's")


def _broken(compiled="fa"):
    """A step that runs a graph, and a log whose function breaks."""
    from compile_logs import fx_cache, graph_break, metrics, start
    from ledger_traces import graph, launch, region
    from small_runs import idle

    log = [start("5/0"), graph_break("5/0"), fx_cache("miss", "fa", "5/0"), metrics("5/0", -5_000_000)]
    return idle(region("5/0", 2, 300), graph(3, 290, compiled), launch(580, 590, 2)), log


def test_distinct_breaks_of_the_program_in_the_trace(tmp_path):
    from compile_logs import graph_break, ids, metrics, record, start
    from small_runs import write_run

    events, log = _broken()
    found = _of("graph_breaks", write_run(tmp_path / "run", events, log))
    assert (found.value, found.at_least) == (1.0, "")
    assert "GB0124" in found.note
    again = [*log, record("artifact", {"name": "x", "encoding": "string"}, "y", **ids("5/0")), graph_break("5/0")]
    assert _of("graph_breaks", write_run(tmp_path / "again", events, again)).value == 1.0
    second = [*log, start("6/0"), graph_break("6/0", line=40), metrics("6/0", -4_000_000)]
    assert _of("graph_breaks", write_run(tmp_path / "second", events, second)).value == 2.0
    assert _of("graph_breaks", write_run(tmp_path / "alone", None, second)).value == 2.0


def test_what_explain_alone_compiled_is_no_break_of_the_run(tmp_path):
    """`explain()` first: its ids start again for the run."""
    from compile_logs import fx_cache, graph_break, metrics, start
    from ledger_traces import graph, launch, region
    from small_runs import idle, write_run

    log = [start("0/0"), graph_break("0/0"), metrics("0/0", -9_000_000)]
    log += [start("0/0"), fx_cache("miss", "fa", "0/0"), metrics("0/0", -5_000_000)]
    run = write_run(tmp_path / "run", idle(region("0/0", 2, 300), graph(3, 290, "fa"), launch(580, 590, 2)), log)
    assert _of("graph_breaks", run) == Measured(0.0)


def test_a_damaged_log_is_a_lower_bound(tmp_path):
    from small_runs import write_run

    events, log = _broken()
    run = write_run(tmp_path / "run", events, [*log, '\x00\xff garbage \n{"half": '])
    for name, value in (("graph_breaks", 1.0), ("recompiles", 0.0), ("recompiles_in_step", 0.0)):
        found = _of(name, run)
        assert (found.value, found.at_least[:36]) == (value, "records of the compile log are lost:")


def test_a_trace_that_runs_eagerly_does_not_hide_the_breaks(tmp_path):
    from ledger_traces import launch, op
    from small_runs import idle, write_run

    eager = idle(op("aten::mm", 410, 590), launch(580, 590, 2))
    assert _of("graph_breaks", write_run(tmp_path / "run", eager, _broken()[1])).value == 1.0


def test_without_a_log_breaks_are_a_lower_bound(tmp_path):
    from ledger_traces import mark
    from small_runs import write_run

    resumed = mark("model.py(13): torch_dynamo_resume_in_bad_at_13", 300, 340) | {"cat": "python_function"}
    found = _of("graph_breaks", write_run(tmp_path / "run", [*_broken()[0], resumed]))
    assert (found.value, found.note) == (1.0, "graph break model.py:13")
    assert found.at_least == "without a compile log only breaks at which the trace resumes are known"
    assert _of("graph_breaks", write_run(tmp_path / "none", _broken()[0])) == Measured(None, "no compile log")


def _recompiled(at_us):
    from compile_logs import artifact, fx_cache, metrics, start

    reason = "0/0: tensor 'x' size mismatch at index 0. expected 3, actual 4"
    log = [start("0/0"), fx_cache("miss", "fa", "0/0"), metrics("0/0", -5_000_000)]
    log += [start("0/1"), artifact("recompile_reasons", reason, "0/1"), fx_cache("miss", "fb", "0/1")]
    return [*log, metrics("0/1", at_us, 150)]


@pytest.mark.parametrize(("at_us", "inside"), [(410, 1), (-4_000_000, 0), (1_000_000, 0)])
def test_a_recompile_counts_in_the_run_and_where_it_lies_in_the_step(tmp_path, at_us, inside):
    from ledger_traces import graph, launch, lookup, op, region
    from small_runs import idle, write_run

    step = [region("0/0", 2, 300), graph(3, 290, "fa"), lookup(405, 410), op("dynamo", 410, 560)]
    step += [region("0/1", 560, 598), graph(561, 597, "fb"), launch(580, 590, 2)]
    run = write_run(tmp_path / "run", idle(*step), _recompiled(at_us))
    guard = "tensor 'x' size mismatch at index 0"
    assert _of("recompiles", run) == Measured(1.0, guard)
    assert _of("recompiles_in_step", run) == Measured(float(inside), guard if inside else "")


def test_a_recompile_that_nobody_timed_may_lie_in_a_step(tmp_path):
    from ledger_traces import graph, launch, region
    from small_runs import idle, write_run

    events = idle(region("0/0", 2, 300), graph(3, 290, "fa"), launch(580, 590, 2))
    found = _of("recompiles_in_step", write_run(tmp_path / "run", events, _recompiled(0)[:-1]))
    assert found == Measured(0.0, "", "the log does not say when every recompile began")


def test_the_planted_breaks_of_a_real_program(shared, tmp_path):
    """The shared recording: one `.item()` in each single block, and a log that `explain` wrote to as well."""
    from profiler.report.diagnose import diagnose
    from profiler.tables.importing import Inputs, import_files

    trace, log = (shared / "h100" / f"flux_small_item_breaks.{each}" for each in ("trace.json.gz", "compile_log.tgz"))
    run = import_files(Inputs(trace=trace, compile_log=log), tmp_path / "run", "")
    listed = [each for each in diagnose(run).findings if each.finding.rule == "graph-break"]
    found = _of("graph_breaks", run)
    assert found.value == len(listed) > 0
    assert _of("host_syncs_in_step", run).value >= 4

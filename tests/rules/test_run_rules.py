"""Rules about the run as a whole, by its manifest; and what a rule may do wrong."""

from __future__ import annotations

import json

import pytest
from ledger_traces import graph, op, region
from small_runs import NVJET, busy, found, only, write_run

from profiler.core.errors import UnreadableInput
from profiler.core.finding import Finding
from profiler.report.diagnose import diagnose, to_json
from profiler.report.diagnose_text import render
from profiler.rules.base import RULES, Rule
from profiler.rundir.manifest import Phase

STEP = busy([(NVJET, 999)])


def _timed(*calls_ms, **more):
    return {"timed": {"iterations_ns": [round(each * 1e6) for each in calls_ms], **more}}


def test_warm_up_in_the_timed_calls(run_with):
    each = only(run_with(STEP, **_timed(150, 100, 102)), "warmup-in-timed")
    assert (each.finding.title, each.finding.once) == ("the first timed call took 1.49 times the others", True)
    assert (each.cost_ns, each.saving_low_ns, each.severity) == (49_000_000, 44_100_000, "low")
    assert each.finding.evidence == ("calls: 150.0, 100.0, 102.0 ms",)


@pytest.mark.parametrize("calls", [(109, 100, 100), (100, 150, 100), (150, 100), (150,), (100, 100, 100)])
def test_no_warm_up_in_the_timed_calls(run_with, calls):
    assert not found(run_with(STEP, **_timed(*calls)), "warmup-in-timed")


ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>(int)"


def test_compiling_was_asked_for_and_nothing_is_compiled(run_with):
    run = run_with(busy([(ADD, 200), (NVJET, 799)]), spec={"compile": "regional"}, applied={"graphs": 2})
    each = only(run, "nothing-compiled")
    assert each.finding.title == "--compile regional was asked for, and nothing compiled runs in the trace"
    assert each.finding.evidence == ("2 graphs were compiled",)
    # The addition and the microsecond that launches it.
    assert (each.cost_ns, each.also) == (201_000, ["unfused-eager"])
    assert diagnose(run).findings[0].finding.rule == "nothing-compiled"


def test_nothing_compiled_on_a_cpu(run_with):
    events = [op("aten::add", 0, 100), op("aten::mm", 100, 200)]
    each = only(run_with(events, spec={"compile": "default"}), "nothing-compiled")
    assert (each.finding.window, each.cost_ns) == ("call", 100_000)


@pytest.mark.parametrize("mode", [None, "none", "as built"])
def test_eager_on_purpose(run_with, mode):
    assert not found(run_with(STEP, spec={"compile": mode}), "nothing-compiled")


def test_compiled_as_asked(run_with):
    compiled = busy([(NVJET, 999)], inside=[region("0/0", 0, 5), graph(0, 4)])
    assert not found(run_with(compiled, spec={"compile": "regional"}), "nothing-compiled")


def _decode(us):
    return [*STEP, *busy([(NVJET, us - 1)], "diffuscope/decode", at=1000, first=50)]


def test_the_decode_dominates_a_call_of_few_steps(run_with):
    each = only(run_with(_decode(2000), spec={"steps": 2}), "dominated-by-other")
    assert each.finding.title == "the VAE's decoding is 50% of a call of 2 steps"
    assert (each.finding.window, each.cost_ns, each.finding.change) == ("decode", 0, "--compile-vae")
    # The same decode is little of 28 steps.
    assert not found(run_with(_decode(2000), spec={"steps": 28}, name="b"), "dominated-by-other")


def test_a_cell_that_was_extrapolated_counts_the_steps_it_stands_for(run_with):
    run = run_with(_decode(2000), spec={"steps": 2})
    header = {"schema": 1, "steps": 28, "cells": [{"id": "a", "spec": {}, "status": "ok", "run": run.path.name}]}
    parts = {"from_steps": [1, 2], "fixed_ms": 2.0, "step_ms": 1.0, "error_ms": 0.0}
    sweep = run.path.parent / "sweep.json"
    sweep.write_text(json.dumps(header | {"cells": [header["cells"][0] | {"extrapolated": parts}]}))
    assert not found(run, "dominated-by-other")
    sweep.write_text(json.dumps(header))
    assert only(run, "dominated-by-other").finding.title == "the VAE's decoding is 50% of a call of 2 steps"


def _clocks(clock, reasons, most=1980.0):
    gpu = {"sm_clock_mhz": clock, "sm_clock_max_mhz": most, "clock_event_reasons": reasons, "power_w": 690.0}
    return {"phases": [Phase(name="timed", start_ns=0, end_ns=1, gpu=gpu)]}


@pytest.mark.parametrize(
    ("clock", "mask", "names"), [(1386.0, "0x4", "power cap"), (990, "0x24", "power cap, thermal (software)")]
)
def test_a_gpu_that_lowered_its_clocks(run_with, clock, mask, names):
    each = only(run_with(STEP, **_clocks(clock, mask)), "gpu-throttled")
    assert each.finding.title == f"the GPU ran at {clock:.0f} of 1980 MHz: {names}"
    # It slows the rows of all other findings down: no cost of its own, but what could be saved.
    assert (each.cost_ns, each.saving_low_ns) == (0, 0)
    assert each.saving_high_ns == pytest.approx((1 - clock / 1980) * 1_000_000)


@pytest.mark.parametrize(
    ("clock", "mask"),
    [(1965.0, "0x4"), (990.0, "0x1"), (990.0, "0x0"), (990.0, "Not Supported"), (990.0, None), (None, "0x4"), ("[N/A]", "0x4")],
)
def test_a_gpu_at_its_clocks(run_with, clock, mask):
    assert not found(run_with(STEP, **_clocks(clock, mask)), "gpu-throttled")


def test_slower_than_its_base(run_with):
    base = run_with(STEP, name="base", **_timed(100, 100, 100))
    each = only(run_with(STEP, name="slow", **_timed(150, 150, 150)), "slower-than-base", base=base)
    assert each.finding.title == "150 ms a call, and the base 100: 1.50 times as long"
    assert not found(run_with(STEP, name="even", **_timed(102, 102, 102)), "slower-than-base", base=base)


def test_a_base_that_broke_before_it_was_timed(run_with):
    base = run_with(None, name="base", status="failed")
    assert not found(run_with(STEP, **_timed(100, 100, 100)), "slower-than-base", base=base)


@pytest.fixture
def planted(monkeypatch):
    """A rule of the test's own beside the real ones."""
    RULES.values()
    entries = dict(RULES._entries)
    monkeypatch.setattr(RULES, "_entries", entries)

    def plant(check, name="planted", **more):
        entries[name] = Rule(name=name, summary="planted", check=check, **more)

    return plant


def _raise(error):
    def check(_context):
        yield Finding(rule="planted", title="found before it failed", window="step")
        raise error

    return check


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RuntimeError("boom\nsecond line"), "the rule failed: RuntimeError: boom"),
        (KeyError("x"), "the rule failed: KeyError: 'x'"),
        (AssertionError(), "the rule failed: AssertionError"),
        (OSError(28, "No space left on device"), "the rule failed: OSError: [Errno 28] No space left on device"),
        (RecursionError("deep"), "the rule failed: RecursionError: deep"),
        (UnreadableInput("rank0/x is not JSON", "import it again"), "rank0/x is not JSON"),
    ],
)
def test_a_failing_rule_is_named_and_the_others_come(run_with, planted, error, why):
    planted(_raise(error))
    report = diagnose(run_with(busy([(ADD, 200), (NVJET, 799)])))
    assert ("planted", why) in report.not_checked
    assert [each.finding.rule for each in report.findings] == ["unfused-eager"]
    assert why in render(report)
    assert {"rule": "planted", "why": why} in to_json(report)["not_checked"]


def test_a_finding_of_a_window_that_is_not_there_counts_in_the_call(run_with, planted):
    planted(lambda _context: [Finding(rule="planted", title="t", window="decode", claims=("busy/none",), cost_ns=5.0)])
    each = only(run_with(STEP), "planted")
    assert (each.finding.window, each.cost_ns) == ("call", 5.0)


def test_rules_without_their_artifact_say_so(run_with):
    report = diagnose(run_with([op("aten::mm", 0, 100)]))
    why = dict(report.not_checked)
    assert why["host-sync"] == why["launch-bound"] == "no GPU trace"
    assert why["recompile"] == "no compile log"
    assert why["warmup-in-timed"] == "no timed calls"
    assert why["gpu-throttled"] == "no GPU clocks"
    assert why["slower-than-base"] == "no base run"
    assert not {each.finding.rule for each in report.findings} & set(why)


def test_every_rule_says_what_it_is_about():
    for rule in RULES.values():
        assert rule.name == rule.name.lower() and " " not in rule.name
        assert rule.summary and rule.needs
    assert len(RULES.values()) >= 20


def test_no_trace_at_all(tmp_path):
    with pytest.raises(UnreadableInput, match=r"holds no rank0/trace\.json\.gz"):
        diagnose(write_run(tmp_path / "run"))


@pytest.mark.parametrize("events", [[], [{"ph": "M", "name": "process_name"}], [{"ph": "X"}], [None, 3, "x"]])
def test_an_empty_trace_has_no_findings(run_with, events):
    report = diagnose(run_with(events))
    assert (report.findings, report.rows, report.untraced_ns) == ([], [], 0)
    assert "nothing found" in render(report)
    assert to_json(report)["ledger"] == []


@pytest.mark.parametrize(
    "manifest",
    [
        {"spec": {"steps": -1, "compile": "a mode of later"}},
        {"environment": {"gpu": {"name": "GPU", "capability": [9]}}},
        {"environment": {"gpu": {"name": "GPU", "capability": []}}},
        {"untraced": {"dur_ns": -5}, "timed": {"iterations_ns": [0, 0, 0]}},
    ],
)
def test_a_manifest_with_values_of_another_kind(run_with, manifest):
    report = diagnose(run_with(STEP, **manifest))
    assert report.untraced_ns == 1_000_000
    render(report), to_json(report)

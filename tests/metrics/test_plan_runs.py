"""Steps predicted from the two kept bf16 runs, eager and compiled, against the kept runs of five schemes."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ledger_traces import call, kernel, launch, mark, run_of

from profiler.core.errors import Refused
from profiler.metrics.ledger import ledger
from profiler.metrics.plan_base import launch_us, sample_tells
from profiler.metrics.plan_prices import UNTUNED, Predictor
from profiler.metrics.plan_step import StepPrediction
from profiler.metrics.power_limit import at_its_limit
from profiler.rundir.manifest import Phase
from profiler.tables.run import Run

TRACES = Path(__file__).resolve().parents[2] / "traces"
EAGER, COMPILED = "flux-dev-bf16", "flux-dev-bf16-compiled"
# Untraced ms of a step of each, as `measured_step` gives it.
MEASURED = {
    "bf16": 130.5,
    "flux-dev-fp8dqrow-regional": 101.2,
    "flux-dev-int8dq-tuned": 98.1,
    "flux-dev-int8dq-regional": 149.9,
    "flux-dev-int8wo-regional": 141.3,
    "flux-dev-fp8wo-regional": 142.0,
}
# bf16 compiled: products, attention, all other kernels, idle; an eager step has 74 of the third.
PARTS = {"products": 85.4, "attention": 26.0, "elementwise": 16.4, "idle": 2.1}


@cache
def opened(name: str) -> Run:
    """A kept run; what is read of its trace is kept with it."""
    if not (TRACES / name).is_dir():
        pytest.skip("no golden runs in traces/")
    return Run.open(TRACES / name)


def linears(run: str) -> list[dict[str, Any]]:
    path = TRACES / run / "run.json"
    if not path.is_file():
        pytest.skip("no golden runs in traces/")
    return json.loads(path.read_text())["applied"]["linears"]


def material(compile: str = "regional", tuned: str = "auto") -> dict[str, Any]:
    """As the planning process gathers it, from what the kept runs applied."""
    applied = {run: [each["scheme"] for each in linears(run)] for run in MEASURED if run != "bf16"}
    layers = [
        {name: each[name] for name in ("module", "rows", "in_features", "out_features")}
        | {"kind": "any", "compiled": "blocks." in each["module"], "calls": 1}
        | {"choices": ["left", *dict.fromkeys(schemes)]}
        for each, *schemes in zip(linears("flux-dev-fp8dqrow-regional"), *applied.values(), strict=True)
    ]
    spec = {"model": "flux-dev", "batch": 1, "height": 1024, "width": 1024, "frames": None, "fuse_qkv": False}
    spec |= {"compile": compile, "tuned": tuned}
    outcomes = applied | {"bf16": ["left"] * len(layers)}
    return {"layers": layers, "spec": spec, "outcomes": outcomes, "costs": [], "schemes": ["fp8dqrow", "int8dq", "int8wo"]}


@pytest.fixture(scope="module", params=[EAGER, COMPILED])
def predictor(request: pytest.FixtureRequest) -> Predictor:
    found = material()
    return Predictor(opened(request.param), found)


def step(predictor: Predictor, run: str) -> StepPrediction:
    found = predictor.step(predictor.material["outcomes"][run], UNTUNED if run == "flux-dev-int8dq-regional" else "")
    assert found is not None
    return found


def test_a_kernel_more_costs_its_gap():
    """fp8dq finds its scale in a kernel of its own: where products are as fast, fp8dqrow is the one to choose."""
    layer = next(each for each in material()["layers"] if each["rows"] == 4608)
    asked = material() | {"layers": [layer | {"choices": ["fp8dqrow", "fp8dq"]}], "outcomes": {}}
    costs = {each["scheme"]: each for each in Predictor(opened(EAGER), asked).material["costs"]}
    assert costs["fp8dq"]["kernels"] == costs["fp8dqrow"]["kernels"] + 1
    assert costs["fp8dq"]["us"] > costs["fp8dqrow"]["us"]


@pytest.mark.parametrize("run", MEASURED)
def test_a_step_is_predicted_within_a_tenth_and_its_range_holds_it(predictor: Predictor, run: str):
    found = step(predictor, run)
    assert found.us / 1e3 == pytest.approx(MEASURED[run], rel=0.06)
    assert found.low_us / 1e3 <= MEASURED[run] <= found.high_us / 1e3
    assert found.high_us < 1.2 * found.us
    assert sum(found.parts.values()) == pytest.approx(found.us)


def test_from_an_eager_run_each_part_of_the_compiled_step_is_near():
    found = step(Predictor(opened(EAGER), material("default")), "bf16")
    assert {name: found.parts[name] / 1e3 for name in PARTS} == pytest.approx(PARTS, rel=0.2)
    assert found.parts["quantizing"] == 0.0
    # The run's products took 78.9 ms: at the limit of power the denser step has a lower clock.
    assert found.clock == pytest.approx(0.92, abs=0.01)


def test_a_compiled_run_predicts_itself():
    predictor = Predictor(opened(COMPILED), material("default"))
    found = step(predictor, "bf16")
    assert found.us == pytest.approx(predictor.basis["step_us"], rel=1e-3)
    assert found.clock == pytest.approx(1.0, abs=1e-3)


def test_regional_compile_writes_each_blocks_result():
    fused, regional = (Predictor(opened(COMPILED), material(mode)) for mode in ("default", "regional"))
    added = regional.basis["rest"]["elementwise"]["us"] - fused.basis["rest"]["elementwise"]["us"]
    # 57 blocks, 4608 x 3072 in bf16, written and read at 2879 GB/s.
    assert added == pytest.approx(57 * 4608 * 3072 * 2 * 2 / 2879.0 / 1e3, rel=0.01)


def test_the_hosts_time_for_a_kernel_is_the_runs_own():
    run = opened(EAGER)
    found = launch_us(run, ledger(run).windows)
    # 3163 kernels were launched in 131 ms of a step that took 181: the host was ahead.
    assert found.us == pytest.approx(0.8 * 131_239 / 3162, rel=1e-3)
    assert found.low < found.us < found.high


def test_without_tuned_kernels_int8dq_is_not_predicted_with_them():
    predictor = Predictor(opened(EAGER), material(tuned="off"))
    assert (predictor.variants, predictor.basis["tuned"]) == ({}, None)
    assert "int8dq's products: torch._int_mm: no tuned kernel is known for this GPU" in predictor.basis["assumed"]
    assert step(predictor, "flux-dev-int8dq-tuned").us > 1.3 * 1e3 * MEASURED["flux-dev-int8dq-tuned"]


def test_an_eager_plan_keeps_the_eager_runs_kernels_and_needs_an_eager_run():
    with pytest.raises(Refused, match="is compiled, and the plan is for --compile none"):
        Predictor(opened(COMPILED), material("none"))
    predictor = Predictor(opened(EAGER), material("none"))
    assert step(predictor, "bf16").us == pytest.approx(predictor.basis["step_us"], rel=1e-3)
    assert any("an eager scheme quantizes in a kernel an operator: 11 times" in each for each in predictor.basis["assumed"])


def test_a_clock_is_predicted_only_where_the_power_was_at_its_limit():
    manifest = opened(EAGER).manifest
    live = ("timed", "untraced")
    assert at_its_limit(manifest, *live)
    phases = [
        Phase(name="timed", start_ns=0, gpu={"clock_event_reasons": "0x0000000000000001"}),
        Phase(name="untraced", start_ns=0, gpu={"clock_event_reasons": "unknown"}),
        Phase(name="load", start_ns=0, gpu={"clock_event_reasons": "0x0000000000000004"}),
        Phase(name="traced", start_ns=0, gpu=None),
    ]
    assert not at_its_limit(replace(manifest, phases=phases), *live)


def test_what_the_host_waits_for_the_device_is_no_time_of_its_own(tmp_path: Path):
    # A launch into a full queue and a synchronization, 300 and 400 us of the 1000 between three launches.
    events = [mark("diffuscope/step/0", 0, 1100), launch(0, 10, 1), kernel(20, 500, 1), launch(100, 400, 2), kernel(500, 900, 2)]
    events += [call("cudaStreamSynchronize", 500, 900), launch(1000, 1010, 3), kernel(1020, 1050, 3)]
    run = run_of(tmp_path / "run", events)
    assert launch_us(run, ledger(run).windows).us == pytest.approx(0.8 * 300 / 2)


@pytest.mark.parametrize(("decoding_us", "tells"), [(90_000, True), (2_300_000, False)])
def test_a_sample_after_a_long_decoding_says_nothing_of_the_steps(tmp_path: Path, decoding_us: int, tells: bool):
    end = 100 + decoding_us
    events = [mark("diffuscope/step/0", 0, 90), launch(5, 10, 1), kernel(20, 50, 1)]
    events += [mark("diffuscope/decode", 100, end), launch(105, 110, 2), kernel(120, end, 2)]
    assert sample_tells(run_of(tmp_path / "run", events)) is tells

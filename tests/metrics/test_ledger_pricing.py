"""Traced time into untraced time."""

from __future__ import annotations

import polars as pl
import pytest
from ledger_traces import check_conserved, kernel, launch, mark, op, overhead, run_of

from profiler.metrics.ledger import ledger
from profiler.rundir.manifest import Phase

# A call of 0-200 with two steps; 60 us busy, 140 idle.
_EVENTS = [
    mark("diffuscope/call", 0, 200),
    mark("diffuscope/step/0", 0, 90),
    launch(5, 10, 1),
    kernel(20, 50, 1),
    mark("diffuscope/step/1", 100, 180),
    launch(105, 110, 2),
    kernel(120, 150, 2),
]


def _priced(found):
    sums = found.rows.group_by("index").agg(pl.col("priced_ns").sum()).sort("index")
    return sums["priced_ns"].to_list()


def test_a_recordings_call_is_priced_as_the_untraced_call(tmp_path):
    run = run_of(
        tmp_path / "run", _EVENTS, kind="record", untraced={"dur_ns": 130_000, "steps": 2}, traced={"dur_ns": 201_000, "steps": 2}
    )
    call = ledger(run, "call")
    check_conserved(call)
    assert (call.pricing.factor, call.pricing.calibrated, call.pricing.basis) == (0.5, True, "call")
    assert (call.pricing.traced_ns, call.pricing.untraced_ns) == (200_000, 130_000)
    assert _priced(call) == [130_000]
    # Steps 0-50 and 50-150: 30 busy each. Of 20 and 70 us idle each begin and end of a launch took 10; launch latency gave none.
    assert (call.pricing.mark_ns, call.pricing.rest_factor) == (10_000, 1.0)
    assert _priced(ledger(run, "step")) == [40_000, 70_000]
    assert (call.rows["priced_low_ns"] == call.rows["priced_ns"]).all()


def test_longer_calls_bound_what_a_step_takes(tmp_path):
    short = {"kind": "record", "untraced": {"dur_ns": 130_000, "steps": 2}, "traced": {"dur_ns": 201_000, "steps": 2}}
    # Twelve steps, eleven of them like the second, have 360 us busy and 840 idle. At the short call's half of it they would take
    # 780; at a fifth, 528.
    timed = {"iterations_ns": [470_000, 528_000, 900_000], "steps": 12}
    call = ledger(run_of(tmp_path / "bound", _EVENTS, timed=timed, **short), "call")
    check_conserved(call)
    assert (call.pricing.factor, call.pricing.untraced_ns) == (pytest.approx(0.2), 88_000)
    assert call.pricing.note == "calls of 2 steps took 0.1 ms, which is slower a step than those of 12: priced by these"
    assert _priced(call) == [88_000]
    assert (call.rows["priced_low_ns"] == call.rows["priced_ns"]).all()
    # Within the noise, of no more steps, or of several ranks: the short call stands.
    for name, other in (("near", {"iterations_ns": [766_000]}), ("slow", {"iterations_ns": [900_000]}), ("same", {"steps": 2})):
        run = run_of(tmp_path / name, _EVENTS, timed=timed | other, **short)
        assert ledger(run, "call").pricing.untraced_ns == 130_000
    ranks = run_of(tmp_path / "ranks", _EVENTS, timed=timed, world_size=2, **short)
    assert ledger(ranks, "call").pricing.untraced_ns == 130_000


def test_at_the_power_limit_lower_clocks_may_be_what_looks_idle(tmp_path):
    timed = {"iterations_ns": [528_000], "steps": 12}
    short = {"kind": "record", "timed": timed, "untraced": {"dur_ns": 130_000, "steps": 2}, "traced": {"steps": 2}}
    limit, none = ({"clock_event_reasons": reasons} for reasons in ("0x0000000000000004", "0x0000000000000000"))
    phases = [Phase(name="timed", start_ns=0, gpu=limit), Phase(name="traced", start_ns=0, gpu=none)]
    call = ledger(run_of(tmp_path / "waits", _EVENTS, phases=phases, **short), "call")
    # Of 28 us idle as much as 8 % of 60 us busy may be slower kernels.
    assert call.pricing.least == pytest.approx(1 - 4.8 / 28)
    idle = call.rows.filter(pl.col("kind") == "idle")
    assert idle["priced_low_ns"].sum() == pytest.approx(idle["priced_ns"].sum() - 4800, abs=idle.height)
    assert call.pricing.note.endswith("the power limit: idle time may be as little as 83% of its price, the rest lower clocks")
    # Where the traced call was at the limit too, its kernels had the timed calls' clocks.
    both = [phases[0], Phase(name="traced", start_ns=0, gpu=limit)]
    assert ledger(run_of(tmp_path / "both", _EVENTS, phases=both, **short), "call").pricing.least == 1.0


def test_a_long_call_without_idle_time_leaves_none(tmp_path):
    timed, untraced = {"iterations_ns": [300_000], "steps": 12}, {"dur_ns": 130_000, "steps": 2}
    run = run_of(tmp_path / "run", _EVENTS, kind="record", timed=timed, untraced=untraced, traced={"dur_ns": 201_000, "steps": 2})
    assert ledger(run, "call").pricing.untraced_ns == 60_000


def test_an_imports_untraced_time_is_that_of_one_step(tmp_path):
    found = ledger(run_of(tmp_path / "run", _EVENTS, untraced={"dur_ns": 52_500}))
    assert (found.pricing.basis, found.pricing.factor) == ("step", 0.5)
    assert sum(_priced(found)) == 2 * 52_500


def test_without_an_untraced_time_idle_prices_reach_down_to_0(tmp_path):
    found = ledger(run_of(tmp_path / "run", _EVENTS))
    assert (found.pricing.calibrated, found.pricing.factor, found.pricing.untraced_ns) == (False, 1.0, None)
    assert (found.rows["priced_ns"] == found.rows["total_ns"]).all()
    idle = found.rows["kind"] == "idle"
    assert found.rows.filter(idle)["priced_low_ns"].sum() == 0
    assert found.rows.filter(~idle)["priced_low_ns"].sum() == 60_000


def test_busy_beyond_the_untraced_time_leaves_idle_at_0_and_says_so(tmp_path):
    found = ledger(run_of(tmp_path / "run", _EVENTS, untraced={"dur_ns": 20_000}))
    assert (found.pricing.factor, found.pricing.calibrated) == (0.0, True)
    assert "busy time alone" in found.pricing.note
    assert _priced(found) == [30_000, 30_000]


def test_the_profilers_overhead_is_in_no_untraced_call(tmp_path):
    events = [*_EVENTS, op("aten::mm", 101, 111), overhead("Activity Buffer Request", 60, 100)]
    found = ledger(run_of(tmp_path / "run", events, untraced={"dur_ns": 55_000}))
    check_conserved(found)
    rows = {row["label"]: row for row in found.rows.filter(pl.col("index") == 1).to_dicts()}
    assert (rows["profiler overhead"]["total_ns"], rows["profiler overhead"]["priced_ns"]) == (40_000, 0)
    # 60 of 110 us are busy; the 50 idle ones are what is left of 90 when the overhead's 40 are out: as they are.
    assert found.pricing.factor == 1.0
    assert sum(_priced(found)) == 110_000


def test_an_untraced_call_of_other_steps_prices_nothing(tmp_path):
    run = run_of(tmp_path / "run", _EVENTS, kind="record", untraced={"dur_ns": 130_000, "steps": 28}, traced={"steps": 2})
    pricing = ledger(run).pricing
    assert not pricing.calibrated
    assert "28 steps" in pricing.note


@pytest.mark.parametrize("value", [0, -5, True, "fast", None])
def test_an_untraced_time_that_is_none_is_ignored(tmp_path, value):
    assert not ledger(run_of(tmp_path / "run", _EVENTS, untraced={"dur_ns": value})).pricing.calibrated

"""The ledger of every real trace: exact, explained, and what is known of it by hand."""

from __future__ import annotations

import polars as pl
import pytest
from kept_runs import TRACES, kept_run, run_of_trace
from ledger_traces import check_conserved

from profiler.metrics.ledger import ledger

_KEPT = sorted(each.parts[-3] for each in TRACES.glob("*/rank0/trace.json.gz"))
_RECORDED = [name for name in _KEPT if name.startswith(("flux-dev-", "cogvideox-"))]


def _unexplained(found):
    dur = (found.windows["end_ns"] - found.windows["start_ns"]).sum()
    return found.rows.filter(pl.col("label") == "unexplained")["total_ns"].sum() / dur


def _per_window(found, label):
    rows = found.rows.filter(pl.col("label") == label).group_by("index").agg(pl.col("total_ns").sum()).sort("index")
    return dict(rows.iter_rows())


@pytest.mark.parametrize("window", ["step", "call"])
def test_every_shared_trace_is_conserved(shared_trace, window):
    found = ledger(run_of_trace(shared_trace), window)
    check_conserved(found)
    if shared_trace.parent.name == "h100":
        assert _unexplained(found) <= 0.01


@pytest.mark.parametrize("window", ["text", "step", "decode", "call"])
@pytest.mark.parametrize("name", _RECORDED)
def test_every_recorded_run_is_conserved_and_priced_as_its_untraced_call(name, window):
    run = kept_run(name)
    found = ledger(run, window)
    check_conserved(found)
    assert found.window == window
    assert _unexplained(found) <= 0.01
    assert found.pricing.calibrated
    if window == "call" and not found.pricing.note:
        assert found.rows["priced_ns"].sum() == run.manifest.untraced["dur_ns"]


def test_item_breaks_stand_in_the_way_four_times_a_call(shared):
    trace = shared / "h100" / "flux_small_item_breaks.trace.json.gz"
    found = ledger(run_of_trace(trace, untraced={"dur_ns": 15_400_000}))
    assert found.windows.height == 3
    sites = found.waits.filter(pl.col("index").is_not_null() & (pl.col("detail") == "aten::item in region 6/1"))
    assert sites.group_by("index").len().sort("index").rows() == [(0, 4), (1, 4), (2, 4)]
    assert set(sites["chain"].list.join(" > ")) == {"aten::item > aten::_local_scalar_dense"}
    waits, overhead = _per_window(found, "host wait"), _per_window(found, "profiler overhead")
    idle = dict(found.rows.filter(pl.col("kind") == "idle").group_by("index").agg(pl.col("total_ns").sum()).iter_rows())
    # The first call has no call before it whose last wait delays it.
    assert all(waits[index] > 0.5 * idle[index] for index in (1, 2))
    assert waits[0] > 0.35 * (idle[0] - overhead[0])
    priced = found.rows.group_by("kind").agg(pl.col("priced_ns").sum())
    assert priced["priced_ns"].sum() == 3 * 15_400_000
    # The price of the breaks: at most what is idle untraced.
    assert found.rows.filter(pl.col("label") == "host wait")["priced_ns"].sum() / 3 <= 2.7e6


def test_the_next_call_after_breaks_still_finds_its_guards(shared):
    found = ledger(run_of_trace(shared / "h100" / "flux_small_item_breaks.trace.json.gz"))
    guards = found.rows.filter(pl.col("label") == "guard check and cache lookup")
    assert {"3/0", "4/0", "5/0"} <= set(guards["detail"])


def test_eager_quantized_linears_wait_144_times_a_step(shared):
    found = ledger(run_of_trace(shared / "h100" / "flux_dev_int8dq_regional.trace.json.gz"))
    waits = found.waits.filter(pl.col("label") == "host wait")
    assert waits.group_by("index").len().drop_nulls("index").sort("index").rows() == [(0, 144), (1, 144)]
    assert set(waits.filter(pl.col("index").is_not_null())["region"]) == {""}


def test_our_own_int8_run_waits_for_nothing_inside_a_step():
    found = ledger(kept_run("flux-dev-int8dq-regional"))
    assert found.waits.filter(pl.col("index").is_not_null() & (pl.col("label") == "host wait")).is_empty()
    assert not _per_window(found, "host wait")


def test_a_replayed_graph_has_gaps_of_its_own(shared):
    found = ledger(run_of_trace(shared / "h100" / "flux_small_cudagraph.trace.json.gz"))
    gaps = _per_window(found, "gap inside a CUDA graph's replay")
    assert sorted(gaps) == [0, 1, 2]
    assert all(150_000 < total < 250_000 for total in gaps.values())
    # Nothing else but the next launch already waiting, once the first call is through.
    rest = found.rows.filter((pl.col("index") > 0) & (pl.col("kind") == "idle") & (pl.col("total_ns") > 20_000))
    assert set(rest["label"]) == {"gap inside a CUDA graph's replay"}


def test_a_clean_eager_step_waits_for_nothing_and_compiles_nothing():
    found = ledger(kept_run("flux-dev-bf16"))
    idle = found.rows.filter(pl.col("kind") == "idle").group_by("label").agg(pl.col("total_ns").sum()).sort("total_ns")
    queued, latency = "gap with the next launch already queued", "launch latency"
    python = {"Python between operators", "Python between steps"}
    assert set(idle["label"]) - python == {"launch-bound: eager", queued, latency}

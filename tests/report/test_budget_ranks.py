"""Budgets on runs of several ranks: the worst rank counts, and one that cannot be measured passes nothing."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
from hta_runs import truncate
from rank_runs import change_rank, pair

from profiler.report.budget import Budget, Limit
from profiler.report.check import check_data
from profiler.tables.run import Run

LIMITS = {
    "inference_peak_gib": 31.5,
    "model_gib": 30.0,
    "call_ms": 64.0,
    "time_ratio": 0.64,
    "scaling_efficiency": 0.79,
    "exposed_communication_share": 0.07,
    "waiting_share": 0.1,
    "host_syncs_in_step": 0,
}
SHARE = pytest.approx(0.8 / 6.45)


def checked(run: Path, base: Path | None) -> dict[str, tuple[str, object, str]]:
    """By key: status, measured, note."""
    limits = tuple(Limit(name, value) for name, value in LIMITS.items())
    found = check_data(Run.open(run), Budget(Path("b.toml"), limits), Run.open(base) if base else None)
    return {each["name"]: (each["status"], each["measured"], each["note"]) for each in found["checks"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("pair"))


def test_the_worst_rank_counts(runs):
    one, two = runs
    found = checked(two, one)
    assert found["inference_peak_gib"] == ("fail", 32.0, "rank 1 of 2; of the traced call")
    assert found["model_gib"] == ("pass", 30.0, "on every rank of 2")
    assert found["call_ms"] == ("pass", 64.0, "median of 3, spread 2.0 ms, 10 steps, each as long as on its slowest rank")
    assert found["time_ratio"] == ("pass", 0.64, "2 ranks, the base 1")
    assert found["scaling_efficiency"][:2] == ("fail", pytest.approx(100 / 64 / 2))
    assert found["exposed_communication_share"] == ("pass", pytest.approx(0.4 / 6.45), "on every rank of 2")
    assert found["waiting_share"] == ("fail", SHARE, "rank 0 of 2")
    assert found["host_syncs_in_step"] == ("pass", 0.0, "on every rank of 2")


def test_of_one_process_they_say_nothing(runs):
    found = checked(runs[0], runs[1])
    assert found["waiting_share"] == ("not checked", None, "the run is of one process")
    assert found["scaling_efficiency"] == ("not checked", None, "the base has 2 ranks, the run 1")
    assert found["call_ms"] == ("fail", 100.0, "median of 3, spread 1.0 ms, 10 steps")
    assert checked(runs[1], None)["scaling_efficiency"][2].startswith("no base run")


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda run: shutil.rmtree(run / "rank1"), "rank 1 left no folder"),
        (lambda run: change_rank(run, 1, run_id="other"), "rank 1 is of another run (other, this one is 0123456789ab)"),
    ],
    ids=["missing", "another run"],
)
def test_a_rank_that_is_not_there_is_named_and_passes_nothing(tmp_path, harm, why):
    one, two = pair(tmp_path)
    harm(two)
    found = checked(two, one)
    assert found["inference_peak_gib"] == ("not checked", 31.0, f"it is a lower bound: {why}")
    assert found["host_syncs_in_step"] == ("not checked", 0.0, f"it is a lower bound: {why}")
    assert found["waiting_share"][:2] == ("not checked", None) and why in found["waiting_share"][2]
    assert found["call_ms"] == ("not checked", 60.0, "it is a lower bound: rank 1 does not say how long its calls took")
    assert found["scaling_efficiency"][2].startswith("it is an upper bound")


def test_a_trace_that_is_cut_has_no_share_in_times(tmp_path):
    one, two = pair(tmp_path)
    truncate(two / "rank1" / "trace.json.gz")
    found = checked(two, one)
    assert found["host_syncs_in_step"][0] == "not checked" and "rank 1: its trace is cut" in found["host_syncs_in_step"][2]
    assert found["inference_peak_gib"][:2] == ("fail", 32.0)


def test_what_may_be_waiting_for_a_rank_without_a_clock_is_no_share(tmp_path):
    one, two = pair(tmp_path)
    path = two / "rank1" / "trace.json.gz"
    trace = json.loads(gzip.decompress(path.read_bytes()))
    trace["traceEvents"] = [each for each in trace["traceEvents"] if not each["name"].startswith("ncclDev")]
    path.write_bytes(gzip.compress(json.dumps(trace).encode(), 1))
    change_rank(two, 1, host="another")
    found = checked(two, one)
    for name in ("waiting_share", "exposed_communication_share"):
        assert found[name][:2] == ("not checked", None) and "no clock of rank 1 is known" in found[name][2]

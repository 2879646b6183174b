"""Several ranks: what is planted in their traces is found, charged to the right rank, and sums exactly."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from ledger_traces import check_conserved
from rank_traces import COMPUTE, GATHER, REDUCE, Planted, ranks_of

from profiler.metrics.ledger import ledger
from profiler.metrics.ranks import _steady, rank_summary
from profiler.metrics.ranks_clock import COLLECTIVES, SAME_HOST, UNKNOWN
from profiler.metrics.ranks_cut import flat, overlay
from profiler.metrics.ranks_waits import waits
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run


def run_of_ranks(folder: Path, traces: list[dict | None], **manifest) -> Run:
    """A run directory with a trace a rank; None leaves a rank out."""
    for rank, trace in enumerate(traces):
        if trace is not None:
            path = folder / f"rank{rank}" / "trace.json.gz"
            path.parent.mkdir(parents=True)
            path.write_bytes(gzip.compress(json.dumps(trace).encode(), 1))
    return Run(folder, Manifest(**{"kind": "import", "status": "ok", "world_size": len(traces), **manifest}))


def total_us(run: Run, rank: int, **where) -> float:
    """Ledger time of a rank's step, us, in rows that have these columns."""
    of = ledger(run, "step", rank)
    rows = of.rows.filter(*(pl.col(name) == value for name, value in where.items()))
    return rows["total_ns"].sum() / of.windows.height / 1000


_PLANS = {
    "straggler": Planted(slow_us={2: 300}),
    "balanced, two ranks": Planted(world=2, exposed_us=400),
    "eight ranks, two slow": Planted(world=8, layers=2, slow_us={1: 100, 6: 250}),
    "two hosts": Planted(slow_us={3: 70}, clock_us={2: 5_000_000, 3: 5_000_000}, hosts=dict(enumerate("aabb"))),
    "no numbers": Planted(slow_us={0: 40}, numbered=False),
}


@pytest.mark.parametrize("name", _PLANS)
def test_what_was_planted_is_found(tmp_path, name):
    planted = _PLANS[name]
    found = rank_summary(run_of_ranks(tmp_path, ranks_of(planted)))
    exposed, hidden = planted.layers * planted.exposed_us, planted.layers * planted.hidden_us
    assert found.window == "step"
    assert found.ranks["rank"].to_list() == list(range(planted.world))
    for row in found.ranks.iter_rows(named=True):
        rank = row["rank"]
        expected = {"compute_us": planted.computed_us(rank), "exposed_us": exposed, "hidden_us": hidden}
        expected |= {"waiting_us": planted.waited_us(rank), "idle_us": planted.gap_us, "step_us": planted.step_us}
        expected |= {"communication_us": exposed + hidden, "steps": planted.steps, "unmatched": 0, "lost": 0, "status": "ok"}
        assert {key: row[key] for key in expected} == expected
        slowest = max(planted.slow_us, key=planted.slow_us.__getitem__, default=None)
        waited = {slowest: planted.waited_us(rank)} if planted.waited_us(rank) else {}
        assert found.waiting_us(rank) == waited
    assert not planted.slow_us or found.slowest == slowest


def test_the_ledger_of_each_rank_is_whole_and_says_the_same(tmp_path):
    planted = _PLANS["eight ranks, two slow"]
    run = run_of_ranks(tmp_path, ranks_of(planted))
    summary = {row["rank"]: row for row in rank_summary(run).ranks.iter_rows(named=True)}
    for rank in (0, 1, 6):
        for window in ("step", "call"):
            check_conserved(ledger(run, window, rank))
        assert total_us(run, rank, label="communication") == summary[rank]["exposed_us"]
        waiting = total_us(run, rank, label="waiting for a slower rank", detail="rank 6", kind="idle")
        assert waiting == summary[rank]["waiting_us"] == planted.waited_us(rank)
        assert total_us(run, rank, detail=COMPUTE) == planted.layers * (planted.compute_us + planted.slow_us.get(rank, 0))
    rows = ledger(run, "step", 0).rows.filter(pl.col("index") == 0)
    counts = dict(rows.select("detail", "count").iter_rows())
    assert (counts[REDUCE], counts[GATHER]) == (planted.layers, planted.layers)


def test_computation_owns_what_it_shares_with_a_collective_that_began_first(tmp_path):
    """A collective from 100 to 300 with computation from 150 to 200: exposed are 150, the computation's own 50 stay whole."""
    traces = ranks_of(Planted(world=2, steps=1, layers=1))
    for trace in traces:
        other = [each for each in trace["traceEvents"] if each["cat"] not in ("kernel", "user_annotation")]
        kernels = [each for each in trace["traceEvents"] if each["cat"] == "kernel"]
        compute, reduce = (next(each for each in kernels if each["name"] == name) for name in (COMPUTE, REDUCE))
        reduce |= {"ts": 10_100, "dur": 200}
        compute |= {"ts": 10_150, "dur": 50}
        trace["traceEvents"] = [*other, reduce, compute]
    run = run_of_ranks(tmp_path, traces)
    rows = ledger(run, "call", 0).rows
    assert rows.filter(pl.col("label") == "communication").select("count", "total_ns").rows() == [(1, 150_000)]
    assert rows.filter(pl.col("detail") == COMPUTE)["total_ns"].to_list() == [50_000]
    check_conserved(ledger(run, "call", 0))


def test_clocks_are_told_apart_by_the_collectives(tmp_path):
    """Ends that jitter by a few us, and one that is left a millisecond late, move the estimate by no more than it says."""
    planted = Planted(world=3, clock_us={1: 7_000, 2: -3_000_000})
    traces = ranks_of(planted)
    jitter = [-2, 3, 0, 1, -1, 2, 1000, 0, 1, -3, 2, -2]
    reduces = [each for each in traces[1]["traceEvents"] if each["name"] == REDUCE]
    for each, late in zip(reduces, jitter, strict=True):
        each["dur"] += late
    clocks = waits(run_of_ranks(tmp_path, traces)).clocks
    rows = rank_summary(run_of_ranks(tmp_path / "again", traces)).ranks
    assert clocks["by"].to_list() == [SAME_HOST, COLLECTIVES, COLLECTIVES]
    shifts, errors = rows["clock_shift_us"].to_list(), rows["clock_error_us"].to_list()
    assert abs(shifts[1] + 7_000) <= max(1, errors[1]) and 0 <= errors[1] <= 3
    assert shifts[2] == 3_000_000 and errors[2] == 0


def test_a_rank_that_shares_no_collective_is_not_aligned_and_waits_for_nobody(tmp_path):
    traces = ranks_of(Planted(world=3, slow_us={1: 100}))
    traces[2]["traceEvents"] = [each for each in traces[2]["traceEvents"] if not each["name"].startswith("nccl")]
    run = run_of_ranks(tmp_path, traces)
    assert waits(run).clocks["by"].to_list() == [SAME_HOST, COLLECTIVES, UNKNOWN]
    found = rank_summary(run)
    assert found.waiting_us(0) == {1: 400.0} and found.waiting_us(2) == {}
    assert found.ranks["clock_error_us"].to_list() == [0.0, 0.0, None]


def test_without_numbers_a_rank_with_fewer_calls_is_left_out_of_the_matching(tmp_path):
    traces = ranks_of(Planted(world=3, slow_us={1: 100}, numbered=False))
    lost = next(each for each in traces[2]["traceEvents"] if each["name"] == REDUCE)
    traces[2]["traceEvents"].remove(lost)
    found = rank_summary(run_of_ranks(tmp_path, traces))
    assert found.ranks["unmatched"].to_list() == [0, 0, 11]
    assert found.waiting_us(0) == {1: 400.0} and found.waiting_us(2) == {}


def test_a_missing_and_an_unreadable_rank_are_named_and_the_others_shown(tmp_path):
    planted = Planted(slow_us={2: 300})
    run = run_of_ranks(tmp_path, [None if rank == 1 else trace for rank, trace in enumerate(ranks_of(planted))])
    (tmp_path / "rank3" / "trace.json.gz").write_bytes(b"no trace")
    found = rank_summary(run)
    rows = {row["rank"]: row for row in found.ranks.iter_rows(named=True)}
    assert [rows[rank]["step_us"] for rank in range(4)] == [planted.step_us, None, planted.step_us, None]
    assert (rows[1]["status"], rows[1]["problem"]) == ("missing", "rank 1 left no folder")
    assert "rank3/trace.json.gz" in rows[3]["problem"]
    assert found.waiting_us(0) == {2: 1200.0} and found.slowest == 2


def gloo_trace(rank: int, arrives_us: int) -> dict:
    """A step of 1000 us on a CPU: an operator until `arrives_us`, then a blocking all-reduce that ends at 800."""
    spans = [("ProfilerStep#0", "user_annotation", 0, 1000, 1), ("aten::mm", "cpu_op", 0, arrives_us, 1)]
    spans += [("c10d::allreduce_", "cpu_op", arrives_us, arrives_us + 10, 1)]
    spans += [("gloo:all_reduce", "user_annotation", arrives_us + 10, 800, 2), ("aten::mm", "cpu_op", 800, 1000, 1)]
    events = [
        {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": start, "dur": end - start, "args": {}}
        for name, cat, start, end, tid in spans
    ]
    return {"host_name": "vm", "baseTimeNanoseconds": 10**18, "traceEvents": events}


def test_on_a_cpu_the_main_thread_waits_beside_gloo(tmp_path):
    run = run_of_ranks(tmp_path, [gloo_trace(0, 200), gloo_trace(1, 500)])
    found = {row["rank"]: row for row in rank_summary(run).ranks.iter_rows(named=True)}
    # The 10 us that it takes to begin the collective are the rank's own: nobody could come sooner for them.
    first = {"compute_us": 410, "waiting_us": 300, "exposed_us": 290, "idle_us": 0, "step_us": 1000, "hidden_us": 0}
    assert {key: found[0][key] for key in first} == first
    assert found[1]["compute_us"] == 710 and found[1]["exposed_us"] == 290 and found[1]["waiting_us"] == 0
    assert rank_summary(run).waiting_us(0) == {1: 300.0}
    for rank in (0, 1):
        check_conserved(ledger(run, "step", rank))


@pytest.mark.parametrize(
    ("idle_ranks", "untraced_us", "waiting_us", "python_us"),
    [
        ((0,), 1000, 300, 100),
        ((0,), 950, 300, 50),
        ((0,), 800, 200, 0),
        ((0,), 1200, 450, 150),
        ((0, 1), 950, 300, 50),
        ((1,), 950, 250, None),
        ((1,), 850, 150, None),
    ],
)
def test_waiting_for_work_stands_and_for_idle_time_gives_up_what_that_does(
    tmp_path, idle_ranks, untraced_us, waiting_us, python_us
):
    """Rank 0 waits 300 of 1000 us; each of the idle ranks is 100 us in Python before the collective.

    Where both are, recording held both up, and the wait is as long without it; where only rank 1 is, it is 100 us shorter at
    most, until nothing else is left.
    """
    traces = [gloo_trace(0, 200), gloo_trace(1, 500)]
    for rank in idle_ranks:
        traces[rank]["traceEvents"][1]["dur"] -= 100
    run = run_of_ranks(tmp_path, traces, untraced={"dur_ns": untraced_us * 1000})
    found = ledger(run, "step", 0)
    check_conserved(found)
    rows = {label: (priced, count) for label, priced, count in found.rows.select("label", "priced_ns", "count").iter_rows()}
    # However a wait is cut for its price, it is counted once.
    assert rows["waiting for a slower rank"] == (waiting_us * 1000, 1)
    assert rows.get("Python between operators") == (None if python_us is None else (python_us * 1000, 1))
    assert found.rows["priced_ns"].sum() == untraced_us * 1000


def test_a_wait_gives_up_what_recording_cost_the_other_rank(tmp_path):
    """Rank 1 is in Python for 200 us with 20 begins and ends of events, 100 us more than rank 0, whose 100 us have 2.

    So 10 of them are in the wait: of 50 us that the untraced step is shorter it gives up 10 parts, rank 0's own Python 2.
    """
    traces = [gloo_trace(0, 200), gloo_trace(1, 500)]
    for rank, idle_us in ((0, 100), (1, 200)):
        traces[rank]["traceEvents"][1]["dur"] -= idle_us
    calls = {"ph": "X", "cat": "python_function", "name": "f", "pid": 1, "tid": 1, "dur": 5, "args": {}}
    traces[1]["traceEvents"] += [calls | {"ts": 310 + 20 * index} for index in range(9)]
    found = ledger(run_of_ranks(tmp_path, traces, untraced={"dur_ns": 950_000}), "step", 0)
    check_conserved(found)
    rows = dict(found.rows.filter(pl.col("kind") == "idle").select("label", "priced_ns").iter_rows())
    assert rows["waiting for a slower rank"] == pytest.approx(300_000 - 50_000 * 10 / 12, abs=2)
    assert rows["Python between operators"] == pytest.approx(100_000 - 50_000 * 2 / 12, abs=2)


def test_what_one_wait_is_of_all_and_who_begins_late(tmp_path):
    """Waits of 300 us in each of 3 steps of 4 layers: without the longest one 11 of 12 are left."""
    late = gloo_trace(1, 500)
    late["traceEvents"][0] |= {"ts": 120, "dur": 880}
    alone = rank_summary(run_of_ranks(tmp_path / "one", [gloo_trace(0, 200), late]))
    assert (alone.steady(0), alone.ranks["late_us"].to_list()) == ({1: 0.0}, [0.0, 120.0])
    often = rank_summary(run_of_ranks(tmp_path / "many", ranks_of(_PLANS["straggler"])))
    assert often.steady(0) == {2: pytest.approx(11 / 12)}
    # Of four windows three must have it.
    waits = pl.DataFrame({"index": [0, 0, 1, 2, 3], "ns": [3, 3, 4, 2, 1]})
    assert (_steady(waits, 4), _steady(waits, 5), _steady(waits, 8)) == (4 * 2 / 13, 5 * 1 / 13, 0)
    assert often.waits.filter(pl.col("rank") == 0)["collectives"].to_list() == [4.0]
    assert often.more_us("own_us", 2, 0) == 1200.0 and often.more_us("own_us", 2, 9) is None


def test_spans_over_segments():
    assert flat([(0, 5, "a"), (3, 4, "b"), (4, 9, "c")]) == [(0, 5, "a"), (5, 9, "c")]
    cut = list(overlay([(0, 10, 1, 0), (10, 10, 2, 0), (12, 20, 3, 0)], [(2, 4, "a"), (8, 14, "b")]))
    assert [(start, end, value) for start, end, _, _, value in cut] == [
        (0, 2, None),
        (2, 4, "a"),
        (4, 8, None),
        (8, 10, "b"),
        (10, 10, None),
        (12, 14, "b"),
        (14, 20, None),
    ]


def _ours(run: Run, rank: int) -> dict[str, int]:
    """HTA's numbers out of our ledger: from the first kernel's start to the last one's end."""
    of = ledger(run, "call", rank)
    busy = of.segments.filter(pl.col("id").str.starts_with("busy/") | pl.col("id").str.contains("waiting for a slower rank"))
    start, end = busy["start_ns"].min(), busy["end_ns"].max()
    length = pl.col("end_ns") - pl.col("start_ns")
    talks = pl.col("id").str.contains("busy/communication/|waiting for a slower rank")
    moves = pl.col("id").str.contains("^busy/(copy/Memcpy|memset/Memset)")
    sums = {"other": talks | moves, "compute": ~talks & ~moves, "memory": moves}
    found = {name: int(busy.filter(part).select(length.sum()).item()) for name, part in sums.items()}
    return found | {"span": end - start, "idle": end - start - found["other"] - found["compute"]}


def _hta(files: list[Path]) -> list[dict]:
    """HTA's numbers of some traces."""
    environment = os.environ | {"HTA_DISABLE_NS_ROUNDING": "1", "PYTHONWARNINGS": "ignore"}
    script = Path(__file__).parent / "hta_ranks.py"
    done = subprocess.run([sys.executable, script, *files], capture_output=True, text=True, env=environment, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]).values())


NEEDS_HTA = pytest.mark.skipif(not importlib.util.find_spec("hta"), reason="needs the extra hta")


@NEEDS_HTA
def test_hta_agrees_on_every_multi_rank_trace(tmp_path):
    """Busy, idle, what is exposed and the overlap: within 1 % (here to the nanosecond, as far as HTA tells them).

    HTA knows no waiting: our waiting is part of its exposed communication. Its idle time begins with the first kernel.
    """
    plans = [_PLANS["straggler"], _PLANS["eight ranks, two slow"]]
    runs = [run_of_ranks(tmp_path / str(index), ranks_of(planted)) for index, planted in enumerate(plans)]
    hta = _hta([run.path / f"rank{rank}" / "trace.json.gz" for run in runs for rank in run.ranks])
    ours = [(run, rank, _ours(run, rank)) for run in runs for rank in run.ranks]
    for theirs, (run, rank, mine) in zip(hta, ours, strict=True):
        assert {key: mine[key] for key in ("span", "compute", "other", "idle")} == {
            key: theirs[key] for key in ("span", "compute", "other", "idle")
        }
        row = rank_summary(run).ranks.row(rank, named=True)
        overlap = row["hidden_us"] / (row["communication_us"] + row["waiting_us"])
        assert theirs["overlap"] == pytest.approx(100 * overlap, abs=0.01)


def _launched_in_steps(trace: Path) -> dict:
    """What HTA keeps of a trace with profiler steps: GPU events whose launch is there and begins before the last step ends."""
    whole = json.loads(gzip.decompress(trace.read_bytes()))
    spans = [each for each in whole["traceEvents"] if each.get("ph") == "X"]
    last = max(each["ts"] + each["dur"] for each in spans if each["name"].startswith("ProfilerStep#"))
    launches = {each["args"].get("correlation") for each in spans if each.get("cat") == "cuda_runtime" and each["ts"] < last}
    lost = [each for each in spans if each.get("cat") in _BUSY and each["args"].get("correlation") not in launches]
    dropped = {id(each) for each in lost}
    return whole | {"traceEvents": [each for each in whole["traceEvents"] if id(each) not in dropped]}


_BUSY = ("kernel", "gpu_memcpy", "gpu_memset")
_PEERS = Path(__file__).parents[2].parent / "shared" / "peers" / "hta"


@NEEDS_HTA
@pytest.mark.skipif(not _PEERS.exists(), reason="needs ../shared/peers/hta")
@pytest.mark.parametrize("name", ["trace_diff_control.json.gz", "trace_diff_test.json.gz"])
def test_hta_agrees_on_one_rank_of_a_real_training(tmp_path, name):
    """Span, idle and busy to the nanosecond, once what HTA leaves out of a trace with profiler steps is left out here too.

    What differs and why: an instant that a copy shares with a kernel is the kernel's to HTA, and to us that of whichever began
    first. So only their sum is the same; communication is the same in both, but that copies hide it here as well.
    """
    run = run_of_ranks(tmp_path, [_launched_in_steps(_PEERS / name), None])
    (theirs,), mine = _hta([_PEERS / name]), _ours(run, 0)
    assert mine["memory"] > 0 and sum(waits(run).calls["end_ns"] - waits(run).calls["start_ns"]) > 0
    assert (mine["span"], mine["idle"]) == (theirs["span"], theirs["idle"])
    assert mine["compute"] + mine["other"] == theirs["compute"] + theirs["other"]
    assert mine["other"] - mine["memory"] <= theirs["other"]
    check_conserved(ledger(run, "step", 0))

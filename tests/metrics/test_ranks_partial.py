"""Ranks whose traces are cut, or are not of one run: what is not known is not counted as time."""

from __future__ import annotations

import gzip
import json

import polars as pl
import pytest
from rank_traces import COMPUTE, Planted, ranks_of
from test_ranks import run_of_ranks

from profiler.core.errors import UnreadableInput
from profiler.metrics.ranks import rank_summary
from profiler.metrics.ranks_clock import COLLECTIVES, FOREIGN, SAME_HOST
from profiler.metrics.ranks_collectives import CALLS, matched
from profiler.metrics.ranks_waits import waits
from profiler.report.rank_notes import notes
from profiler.report.several_ranks import ranks_text
from profiler.rundir.manifest import Failure
from profiler.tables.run import Run


def test_what_one_rank_sends_to_another_is_no_collective():
    """A barrier of gloo is sends and receives: rank 0 has one of each for every other rank, and lacks nothing."""
    rows = [(0, "recv", 100), (0, "recv", 110), (0, "send", 120), (0, "send", 130), (0, "allreduce", 200)]
    rows += [(rank, kind, at) for rank in (1, 2) for kind, at in (("send", 90), ("recv", 140), ("allreduce", 210))]
    calls = pl.DataFrame([(rank, kind, kind, "", None, at, at + 5) for rank, kind, at in rows], schema=CALLS, orient="row")
    shared, alone = matched(calls)
    assert (shared["kind"].unique().to_list(), alone) == (["allreduce"], {})


def test_a_trace_cut_before_its_kernels_is_no_idle_rank(tmp_path):
    """Its steps are there and nothing runs in them: the rank has no times, and is neither the slowest nor waited for."""
    planted = Planted(world=3, slow_us={1: 50})
    run = run_of_ranks(tmp_path, ranks_of(planted))
    trace = ranks_of(planted)[2]
    host = [each for each in trace["traceEvents"] if each["cat"] in ("cpu_op", "user_annotation")]
    device = [each for each in trace["traceEvents"] if each["cat"] in ("kernel", "cuda_runtime")]
    text = json.dumps(trace | {"traceEvents": host + device})
    path = tmp_path / "rank2" / "trace.json.gz"
    path.write_bytes(gzip.compress(text[: text.index('"cudaLaunchKernel"') + 40].encode()))
    found = rank_summary(run)
    assert (found.slowest, found.median, found.ranks["own_us"].null_count()) == (1, 0, 1)
    assert found.ranks["problem"][2].startswith("rank 2's trace is cut before its first GPU event: the file ends inside an event")
    # One kernel from before the first step is left: nothing is known of the steps.
    early = {"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": 5, "dur": 1, "args": {"stream": 7}}
    text = json.dumps(trace | {"traceEvents": [early, *host, *device]})
    path.write_bytes(gzip.compress(text[: text.index('"cudaLaunchKernel"') + 40].encode()))
    found = rank_summary(Run(tmp_path, run.manifest))
    assert (found.slowest, found.ranks["problem"][2]) == (1, "rank 2's trace is cut before what ran in a step")
    path.write_bytes(gzip.compress(text[: text.rindex(COMPUTE)].encode()))
    partly = rank_summary(Run(tmp_path, run.manifest))
    assert (partly.slowest, partly.ranks["lost"].to_list()) == (1, [0, 0, 1])
    assert partly.ranks["own_us"].null_count() == 0


def test_a_rank_of_another_run_is_not_aligned_and_nobody_waits_for_it(tmp_path):
    """The same collectives a minute later, of longer steps: no clock makes them end together."""
    traces, other = ranks_of(Planted(world=3)), ranks_of(Planted(world=3, compute_us=2000, slow_us={1: 700}))
    other[1]["baseTimeNanoseconds"] += 60 * 10**9
    run = run_of_ranks(tmp_path / "a", [traces[0], other[1], traces[2]])
    assert waits(run).clocks["by"].to_list() == [SAME_HOST, FOREIGN, COLLECTIVES]
    found = rank_summary(run).ranks
    assert found["waiting_us"].to_list() == [0.0, 0.0, 0.0] and found["clock_error_us"].to_list() == [0.0, None, 0.0]
    assert any("of another run?" in line for line in notes(found.to_dicts()))
    # The same run, on a host whose clock is far off, does.
    far = ranks_of(Planted(world=3))
    far[1]["baseTimeNanoseconds"] += 60 * 10**9
    assert waits(run_of_ranks(tmp_path / "b", far)).clocks["by"].to_list() == [SAME_HOST, COLLECTIVES, COLLECTIVES]


def test_a_rank_that_ended_with_another_says_so_and_lines_keep_to_the_width(tmp_path):
    """What a broken connection looks like from the other ranks is no cause."""
    run = run_of_ranks(tmp_path, ranks_of(Planted(world=3)), kind="record")
    ends = {1: ("killed by SIGKILL", False), 2: ("[pair.cc:537] Read error: Connection reset by peer " * 5, True)}
    for rank, (why, secondhand) in ends.items():
        (tmp_path / f"rank{rank}" / "trace.json.gz").unlink()
        said = {"rank": rank, "phase": "timed", "failure": {"type": "E", "message": why}, "secondhand": secondhand}
        (tmp_path / f"rank{rank}" / "rank.json").write_text(json.dumps(said))
    run.manifest.failure, run.manifest.status = Failure(type="Died", message="rank 1 on a in timed: killed\nmore"), "failed"
    with pytest.raises(UnreadableInput, match="holds no rank1/trace") as caught:
        run.trace(1)
    assert caught.value.hint.startswith("it ended as failed: rank 1 on a in timed: killed (diffuscope show ")
    rows = rank_summary(run).ranks.to_dicts()
    assert [row["problem"] for row in rows[1:]] == [
        "rank 1 left no trace: it failed in phase timed: killed by SIGKILL",
        "rank 2 left no trace: it ended in phase timed because another rank did",
    ]
    text = ranks_text([row | {"waiting_for_us": {}, "inference_peak_gib": None} for row in rows], "step", 80)
    assert text.startswith("ranks, a step as traced (mean of 3): compute")
    below = text[text.index("rank 1 has no times") :].splitlines()
    assert max(map(len, below)) <= 80 and below[1] == "  SIGKILL"

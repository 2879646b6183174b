"""Ranks whose traces are cut, or are not of one run: what is not known is not counted as time."""

from __future__ import annotations

import gzip
import json

import polars as pl
from rank_traces import COMPUTE, Planted, ranks_of
from test_ranks import run_of_ranks

from profiler.metrics.ranks import rank_summary
from profiler.metrics.ranks_collectives import CALLS, matched
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
    path.write_bytes(gzip.compress(text[: text.rindex(COMPUTE)].encode()))
    partly = rank_summary(Run(tmp_path, run.manifest))
    assert (partly.slowest, partly.ranks["lost"].to_list()) == (1, [0, 0, 1])
    assert partly.ranks["own_us"].null_count() == 0

"""The memory of a real recording: the tiny Flux on a CPU."""

from __future__ import annotations

import polars as pl
import pytest
from processes import eager

from profiler.metrics.memory import allocations, growth, memory_windows, peak, study, timeline
from profiler.metrics.memory.timeline import BY
from profiler.rundir import layout
from profiler.tables.run import Run


@pytest.fixture(scope="module")
def run():
    recorded = eager()
    assert recorded.done.returncode == 0, recorded.done.stderr
    return Run.open(recorded.path)


def test_live_bytes_follow_the_profilers_own_count(run):
    """The count of the profiler's first event is its own affair; from there on every step of it is ours."""
    own = run.trace(artifact=layout.MEMORY_TRACE).frame("memory").sort("ts_ns", maintain_order=True)
    line = timeline(run)
    at = own.with_row_index("index").select(pl.col("index").cast(pl.Int64), "allocated_bytes").join_asof(line.total, on="index")
    assert (at["live_bytes"] - at["allocated_bytes"]).n_unique() == 1
    weights = sum(run.manifest.applied["weight_bytes"].values())
    assert line.total["live_bytes"][0] == weights
    assert study(run).problems == {}


@pytest.mark.parametrize("by", BY)
def test_labels_sum_to_the_live_bytes_at_every_event(by, run):
    line = timeline(run, by=by)
    sums = line.wide().select(pl.sum_horizontal(line.labels)).to_series()
    assert (sums == line.total["live_bytes"]).all()


def test_every_byte_at_the_peak_has_an_owner(run):
    found = peak(run)
    assert found.unresolved_bytes == 0
    assert set(found.by_component) <= {"transformer", "vae", "text_encoder", "text_encoder_2", "scheduler", "pipeline"}
    assert found.by_category["weights"] == sum(run.manifest.applied["weight_bytes"].values())
    rows = allocations(run)
    assert rows.filter(pl.col("category").is_in(["unknown", "before recording"])).is_empty()
    attention = rows.filter(pl.col("module").str.contains(r"transformer_blocks\.0\.attn"))
    assert set(attention["window"]) - {""} == {"step/0", "step/1"}
    assert {"text", "step/0", "step/1", "decode"} <= set(memory_windows(run)["label"])


def test_steps_leave_nothing_behind(run):
    assert growth(run).steps["grown_bytes"].to_list() == [None, 0]

"""The real logs and traces: a planted `.item()` on the H100, and clean regional runs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from profiler.core.errors import UnreadableInput
from profiler.metrics.break_spans import break_spans, per_window
from profiler.metrics.compile_join import check_same_program
from profiler.metrics.compiles import compiles, cudagraph_skips, joined_regions, limits
from profiler.metrics.graph_breaks import graph_breaks
from profiler.metrics.recompiles import recompiles
from profiler.rundir import layout
from profiler.tables.importing import Inputs, import_files
from profiler.tables.run import Run

TRACES = Path(__file__).resolve().parents[2] / "traces"
GOLDEN = [TRACES / "flux-dev-fp8dqrow-regional", TRACES / "flux-dev-int8dq-regional"]
HOLDING = "site-packages/diffusers/models/transformers/transformer_flux.py"


@pytest.fixture(scope="module")
def imported(shared, tmp_path_factory):
    def make(trace: str | None) -> Run:
        files = Inputs(
            trace=shared / "h100" / f"{trace}.trace.json.gz" if trace else None,
            compile_log=shared / "h100" / "flux_small_item_breaks.compile_log.tgz",
        )
        return import_files(files, tmp_path_factory.mktemp("golden") / "run")

    return make


@pytest.fixture(scope="module")
def breaks_run(imported):
    return imported("flux_small_item_breaks")


def test_exactly_one_distinct_break_four_a_step(breaks_run):
    (row,) = graph_breaks(breaks_run).to_dicts()
    assert (row["gb_id"], row["file"], row["line"], row["function"]) == ("GB0124", "lab/e3_breaks.py", 13, "bad")
    assert row["code"] == 'if h[-1].float().abs().max().item() > 1e30: print("overflow")'
    assert (row["log_count"], row["trace_count"], row["split_count"], row["joined"]) == (10, 12, 12, True)
    assert (row["before"], row["after"]) == (["6/1"], ["7/0"])
    assert [(each["function"], each["line"], each["why"]) for each in row["consequences"]] == [
        ("wrapper", 300, "the frame cannot be resumed after the break"),
        ("forward", 670, "graph break in loop"),
    ]
    assert row["consequences"][1]["file"] == HOLDING


def test_how_often_it_happens(breaks_run):
    rows = per_window(breaks_run).filter(pl.col("window") == "step").select("windows", "count", "per_window").rows()
    assert rows == [(3, 12, 4.0)]


def test_its_spans(breaks_run):
    spans = break_spans(breaks_run)
    assert spans.select("compile_id", "innermost").unique().rows() == [("6/1", True)]
    assert (spans.height, spans["dur_ns"].sum()) == (12, 13_411_553)


def test_only_the_generation_that_ran_joins(breaks_run):
    ran = compiles(breaks_run).filter(pl.col("calls") > 0)
    assert ran.select("generation", "compile_id", "calls", "joined_by").rows() == [
        (1, "3/0", 3, "fx_key"),
        (1, "4/0", 3, "fx_key"),
        (1, "5/0", 6, "fx_key"),
        (1, "6/1", 12, "fx_key"),
        (1, "8/0", 3, "fx_key"),
    ]


def test_recompiles_before_and_after_the_trace(breaks_run):
    rows = recompiles(breaks_run)
    assert rows.select("generation", "compile_id", "before", "now", "when", "joined").rows()[:3] == [
        (0, "6/1", "12582912", "14155776", "before", False),
        (1, "6/1", "12582912", "14155776", "before", True),
        (1, "4/1", "4608", "2816", "after", True),
    ]
    assert (rows.height, limits(breaks_run).height, cudagraph_skips(breaks_run).height) == (8, 0, 0)


def test_a_later_reset_of_the_same_log_joins_its_own_trace(imported):
    run = imported("flux_small_cudagraph")
    rows = compiles(run).filter(pl.col("calls") > 0).select("generation", "compile_id", "joined_by").rows()
    assert rows == [(2, "0/0", "fx_key")]
    # The break is of code that this trace does not run.
    assert graph_breaks(run).select("joined", "trace_count").rows() == [(False, 0)]


@pytest.mark.parametrize("trace", ["flux_dev_bf16_compiled", "flux_dev_int8dq_regional"])
def test_the_log_of_another_program_is_refused(imported, trace):
    run = imported(trace)
    with pytest.raises(UnreadableInput, match="no FX graph key is in both"):
        check_same_program(run)
    with pytest.raises(UnreadableInput, match="not of the same program"):
        graph_breaks(run)


def test_an_eager_trace_of_another_time_is_refused(imported):
    with pytest.raises(UnreadableInput, match=r"it (ended before|began after) the log"):
        check_same_program(imported("flux_dev_bf16_eager"))


def test_a_log_alone(imported):
    run = imported(None)
    (row,) = graph_breaks(run).to_dicts()
    assert (row["log_count"], row["trace_count"], row["before"]) == (10, 0, ["6/0", "6/1", "6/2", "6/3"])
    assert joined_regions(run).is_empty()
    assert recompiles(run)["when"].unique().to_list() == [None]


def test_a_trace_alone_tells_function_and_line(shared, tmp_path):
    run = import_files(Inputs(trace=shared / "h100" / "flux_small_item_breaks.trace.json.gz"), tmp_path / "run")
    (row,) = graph_breaks(run).to_dicts()
    assert (row["file"], row["line"], row["function"], row["trace_count"], row["source"]) == (
        "e3_breaks.py",
        13,
        "bad",
        12,
        "trace",
    )
    assert joined_regions(run)["compile_id"].unique().sort().to_list() == ["3/0", "4/0", "5/0", "6/1", "8/0"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_clean_run_has_no_break_and_one_recompile(path):
    run = Run.open(path)
    check_same_program(run)
    assert graph_breaks(run).is_empty()
    assert break_spans(run).is_empty()
    (row,) = recompiles(run).to_dicts()
    assert (row["compile_id"], row["function"], row["guard"]) == (
        "1/1",
        "forward",
        "tensor 'hidden_states' stride mismatch at index 0",
    )
    assert (row["before"], row["now"], row["when"], row["joined"]) == ("12582912", "14155776", "before", True)
    applied = run.manifest.applied
    assert (applied["graph_breaks"], applied["recompiles"]) == (0, recompiles(run).height)
    ran = compiles(run).filter(pl.col("calls") > 0).select("compile_id", "calls", "joined_by").rows()
    assert ran == [("0/0", 38, "fx_key"), ("1/1", 76, "fx_key")]
    assert set(run.manifest.fx_graph_keys) == set(compiles(run)["fx_keys"].explode())
    assert run.compile_log().lost == {}
    # The kept copy goes without torch's registry, and says so.
    assert [each.what for each in run.manifest.lost if "registry" in each.what] == [f"rank0/{layout.GRAPH_BREAK_REGISTRY}"]

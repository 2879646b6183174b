"""A log and a trace that torch writes here and now (backend eager, on the CPU), with planted breaks, recompiles and a limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from processes import TESTS, TIMEOUT_S, environment

from profiler.metrics.break_spans import break_spans, per_window
from profiler.metrics.compile_join import check_same_program
from profiler.metrics.compiles import compiles, joined_regions, limits
from profiler.metrics.graph_breaks import graph_breaks
from profiler.metrics.recompiles import recompiles
from profiler.tables.importing import Inputs, import_files
from profiler.tables.run import Run

PROGRAM = TESTS / "planted_compiles.py"
LINES = {
    line.rpartition("# ")[2]: number
    for number, line in enumerate(PROGRAM.read_text().splitlines(), 1)
    if line.endswith(tuple("KLPDR"))
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder: Path = tmp_path_factory.mktemp("planted")
    child = environment(TORCH_TRACE=str(folder / "log"), TORCHINDUCTOR_CACHE_DIR=str(folder / "inductor"))
    command = [sys.executable, str(PROGRAM), str(folder / "trace.json")]
    subprocess.run(command, env=child, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return import_files(Inputs(trace=folder / "trace.json", compile_log=folder / "log"), folder / "run")


def test_nothing_is_lost(run):
    assert run.compile_log().lost == {}
    check_same_program(run)


def test_the_planted_break(run):
    row = graph_breaks(run).row(by_predicate=pl.col("function") == "inner", named=True)
    assert (row["gb_id"], row["title"]) == ("GB0124", "Unsupported Tensor.item() call with capture_scalar_outputs=False")
    assert (row["file"], row["line"]) == (str(PROGRAM), LINES["BREAK"])
    assert row["code"].startswith("if x.sum().item() > 1e9:")
    # outer inlined inner, so both are split: outer is left before the call, inner at the break.
    assert (row["log_count"], row["trace_count"], row["split_count"]) == (2, 2, 4)
    names = compiles(run).filter(pl.col("generation") == pl.col("generation").max())
    named = dict(names.select("compile_id", "function").rows())
    assert [named[each] for each in row["before"]] == ["outer", "inner"]
    assert sorted(named[each] for each in row["after"]) == [
        f"torch_dynamo_resume_in_inner_at_{LINES['BREAK']}",
        f"torch_dynamo_resume_in_outer_at_{LINES['CALL']}",
    ]
    assert row["consequences"] == []


def test_its_spans_lie_in_their_regions_and_do_not_overlap(run):
    spans = break_spans(run)
    assert spans["innermost"].to_list() == [False, True, False, True]
    ends = (spans["ts_ns"] + spans["dur_ns"]).to_list()
    assert all(end <= start for end, start in zip(ends, spans["ts_ns"].to_list()[1:], strict=False))
    assert (spans["ts_ns"] >= spans["region_ts_ns"]).all()
    counts = {window: count for _name, window, _windows, count, _share in per_window(run).iter_rows()}
    assert counts["call"] == 2


def test_a_break_in_a_loop_skips_the_frame(run):
    row = graph_breaks(run).row(by_predicate=pl.col("function") == "looped", named=True)
    assert (row["gb_id"], row["line"], row["trace_count"]) == ("GB0025", LINES["LOOP"], 0)
    (skipped,) = row["consequences"]
    assert (skipped["function"], skipped["why"]) == ("looped", "graph break in loop")


def test_what_explain_compiled_does_not_join(run):
    row = graph_breaks(run).row(by_predicate=pl.col("function") == "explained_only", named=True)
    assert (row["line"], row["joined"], row["trace_count"]) == (LINES["EXPLAINED"], False, 0)
    ran = compiles(run).filter(pl.col("calls") > 0)
    assert ran["generation"].unique().to_list() == [1]
    assert ran.select("function", "calls", "joined_by").sort("function").rows()[:2] == [
        ("inner", 2, "compile_id"),
        ("outer", 2, "compile_id"),
    ]
    assert joined_regions(run)["joined_by"].unique().to_list() == ["compile_id"]


def test_recompiles_by_shape(run):
    rows = recompiles(run).filter(pl.col("function") == "shaped")
    assert rows["line"].unique().to_list() == [LINES["SHAPED"]]
    assert rows.select("guard", "before", "now", "count", "compiled", "when").rows() == [
        ("tensor 'x' size mismatch at index 0", "3", "4", 2, True, "before"),
        ("tensor 'x' size mismatch at index 0", "4", "5", 2, True, "before"),
    ]


def test_recompiles_by_an_attribute_know_the_value_from_the_next_one(run):
    rows = recompiles(run).filter(pl.col("guard") == "self.factor").select("before", "now", "guard_file", "guard_line").rows()
    assert rows == [("0", "1", str(PROGRAM), LINES["FACTOR"]), ("1", None, str(PROGRAM), LINES["FACTOR"])]


def test_the_recompile_limit(run):
    (row,) = limits(run).to_dicts()
    assert (row["function"], row["file"], row["line"]) == ("limited", str(PROGRAM), LINES["LIMITED"])
    assert (row["limit"], row["value"]) == ("recompile_limit", 3)
    assert row["last_guard"].endswith("expected 4, actual 5")
    rows = recompiles(run).filter(pl.col("function") == "limited")
    assert rows["compiled"].to_list() == [True, True, False]

"""The join of a small trace and a small log, each case on its own."""

from __future__ import annotations

import gzip
import json

import polars as pl
import pytest
from compile_logs import CLOCK_NS, fx_cache, graph_break, metrics, start, string, write

from profiler.core.errors import UnreadableInput
from profiler.metrics.break_spans import break_spans
from profiler.metrics.compile_join import check_same_program, why_not_same_program
from profiler.metrics.compile_regions import compilations, regions
from profiler.metrics.compiles import compiles, joined_regions
from profiler.metrics.graph_breaks import graph_breaks
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.writer import RunWriter
from profiler.tables.run import Run

MODEL = string(0, "model.py")
SECOND = 1_000_000


@pytest.fixture
def make_run(tmp_path, make_span):
    """A run of compiled regions, `(start us, length us, name)`, and of log records."""

    def make(spans=None, log=None, base_ns=CLOCK_NS, registry=None) -> Run:
        writer = RunWriter(tmp_path / "run", Manifest(kind="import"))
        writer.seal("ok")
        folder = layout.rank_dir(tmp_path / "run")
        folder.mkdir(exist_ok=True)
        if spans is not None:
            events = [make_span(name, "user_annotation" if "##" in name else "cpu_op", at, dur) for at, dur, name in spans]
            trace = {"baseTimeNanoseconds": base_ns, "traceEvents": events}
            (folder / layout.TRACE).write_bytes(gzip.compress(json.dumps(trace).encode()))
        if log is not None:
            write(folder / layout.COMPILE_LOG_DIR, MODEL, *log)
        if registry is not None:
            (folder / layout.GRAPH_BREAK_REGISTRY).write_bytes(registry)
        return Run.open(tmp_path / "run")

    return make


def region(at: float, dur: float, compile_id: str, key: str | None = None) -> list[tuple[float, float, str]]:
    spans = [(at, dur, f"Torch-Compiled Region: {compile_id}")]
    return spans + ([(at + 1, dur / 4, f"## Call CompiledFxGraph {key} ##")] if key else [])


def compiled(compile_id: str, at_us: int, key: str | None = None, **more) -> list[str]:
    keyed = [fx_cache("miss", key, compile_id)] if key else []
    return [start(compile_id, more.get("co_name", "forward")), *keyed, metrics(compile_id, at_us, **more)]


def joined(run: Run) -> list[tuple]:
    return joined_regions(run).select("compile_id", "generation", "joined_by").rows()


def test_a_key_joins_whatever_the_clock(make_run):
    run = make_run(region(0, 9, "0/0", "fa"), compiled("0/0", 99 * 3600 * SECOND, "fa"))
    assert joined(run) == [("0/0", 0, "fx_key")]


def test_of_equal_graphs_the_one_with_the_id_compiled_last_before_it_ran(make_run):
    log = [
        *compiled("0/0", 0, "fa"),
        *compiled("0/1", SECOND, "fa"),
        *compiled("0/0", 2 * SECOND, "fa"),
        *compiled("0/1", 9 * SECOND, "fa"),
    ]
    run = make_run([*region(1.5 * SECOND, 9, "0/1", "fa"), *region(3 * SECOND, 9, "0/0", "fa")], log)
    assert joined(run) == [("0/1", 0, "fx_key"), ("0/0", 1, "fx_key")]


def test_a_key_alone_does_not_join_another_id(make_run):
    log = [*compiled("1/0", 0, "fa"), *compiled("0/0", 5 * SECOND, "fa")]
    spans = [*region(SECOND, 9, "1/0", "fa"), *region(6 * SECOND, 9, "0/0", "fa"), *region(7 * SECOND, 9, "2/0", "fa")]
    assert joined(make_run(spans, log)) == [("1/0", 0, "fx_key"), ("0/0", 1, "fx_key"), ("2/0", None, None)]


def test_a_compile_that_left_no_key_joins_by_id_where_the_log_knows_the_graph(make_run):
    run = make_run(
        [*region(2 * SECOND, 9, "0/0", "fa"), *region(3 * SECOND, 9, "0/1", "fa")],
        [*compiled("0/0", 0, "fa"), *compiled("0/1", SECOND)],
    )
    assert joined(run) == [("0/0", 0, "fx_key"), ("0/1", 0, "compile_id")]


def test_ids_of_another_process_in_the_same_folder_do_not_join(make_run):
    run = make_run(
        [*region(2 * SECOND, 9, "0/0", "fa"), *region(3 * SECOND, 9, "1/0")], [*compiled("0/0", 0, "fa"), *compiled("1/0", 1)]
    )
    write(run.artifact(layout.COMPILE_LOG_DIR), MODEL, *compiled("0/0", SECOND), *compiled("1/0", SECOND + 1), name="z.log")
    assert joined(run) == [("0/0", 0, "fx_key"), ("1/0", 0, "compile_id")]


def test_an_equal_id_with_a_key_that_the_log_never_had_does_not_join(make_run):
    run = make_run(
        [*region(SECOND, 9, "0/0", "fa"), *region(SECOND + 50, 9, "1/0", "fz")],
        [*compiled("0/0", 0, "fa"), *compiled("1/0", 1, "fb")],
    )
    assert joined(run) == [("0/0", 0, "fx_key"), ("1/0", None, None)]


def test_an_id_joins_in_the_generation_of_its_time_only(make_run):
    log = [*compiled("0/0", 0), *compiled("1/0", 1), *compiled("0/0", 10 * SECOND)]
    spans = [*region(2 * SECOND, 9, "1/0"), *region(20 * SECOND, 9, "0/0"), *region(21 * SECOND, 9, "1/0")]
    assert joined(make_run(spans, log)) == [("1/0", 0, "compile_id"), ("0/0", 1, "compile_id"), ("1/0", None, None)]


@pytest.mark.parametrize(
    ("at_s", "why"),
    [
        (-10, "it ended before the log began, 10 s apart"),
        (2, None),
        (3600, None),
        (7200, "it began after the log ended, 7,200 s apart"),
    ],
)
def test_without_keys_time_tells(make_run, at_s, why):
    run = make_run(region(at_s * SECOND, 9, "0/0"), compiled("0/0", 0), base_ns=CLOCK_NS)
    found = why_not_same_program(run.trace(), run.compile_log().frame("compiles"))
    assert (found is None) if why is None else why in found


def test_keys_that_are_not_shared_are_refused_though_ids_and_time_fit(make_run):
    run = make_run(region(SECOND, 9, "0/0", "fa"), compiled("0/0", 0, "fb"))
    with pytest.raises(UnreadableInput, match="no FX graph key is in both") as caught:
        check_same_program(run)
    assert str(run.path) in caught.value.message
    assert caught.value.hint


def test_a_trace_with_no_compiled_region(make_run):
    run = make_run([(5.0, 3.0, "aten::mm")], compiled("0/0", 0, "fa"))
    assert joined_regions(run).is_empty()
    assert compiles(run)["calls"].to_list() == [0]


def test_a_run_without_a_log_or_with_an_empty_folder_for_it(make_run):
    run = make_run(region(0, 9, "0/0"))
    assert joined(run) == [("0/0", None, None)]
    run.artifact(layout.COMPILE_LOG_DIR).mkdir()
    assert joined(run) == [("0/0", None, None)]
    assert graph_breaks(run).is_empty()


def test_neither_log_nor_trace(make_run):
    with pytest.raises(UnreadableInput, match="no compile log and no trace"):
        graph_breaks(make_run())


def test_regions_nest(make_run):
    spans = [*region(0, 100, "0/0", "fa"), *region(40, 50, "1/0", "fb"), *region(60, 20, "2/0"), *region(200, 10, "0/0")]
    rows = regions(make_run(spans).trace()).select("compile_id", "depth", "self_ns", "fx_keys", "graph_end_ns", "next_ns").rows()
    assert rows == [
        ("0/0", 0, 50_000, ["fa"], 26_000, 40_000),
        ("1/0", 1, 30_000, ["fb"], 53_500, 60_000),
        ("2/0", 2, 20_000, [], None, None),
        ("0/0", 0, 10_000, [], None, None),
    ]


def test_regions_that_touch_do_not_nest_and_what_nests_between_graphs_is_no_rest(make_run):
    spans = [
        *region(0, 100, "0/0", "fa"),
        *region(40, 10, "1/0"),
        (60, 20, "## Call CompiledFxGraph fb ##"),
        *region(100, 10, "2/0"),
    ]
    rows = regions(make_run(spans).trace()).select("compile_id", "depth", "fx_keys", "graph_end_ns", "next_ns").rows()
    assert rows == [("0/0", 0, ["fa", "fb"], 80_000, None), ("1/0", 1, [], None, None), ("2/0", 0, [], None, None)]


def test_a_break_span_ends_where_the_rest_begins(make_run):
    log = [start("0/0"), graph_break("0/0"), fx_cache("miss", "fa", "0/0"), metrics("0/0", 0)]
    log += compiled("1/0", 1, "fb", co_name="torch_dynamo_resume_in_forward_at_13")
    run = make_run([*region(SECOND, 100, "0/0", "fa"), *region(SECOND + 60, 20, "1/0", "fb")], log)
    (span,) = break_spans(run).to_dicts()
    assert (span["break"], span["innermost"]) == ("GB0124 model.py:13", True)
    assert (span["ts_ns"] - SECOND * 1000, span["dur_ns"]) == (26_000, 34_000)
    (row,) = graph_breaks(run).to_dicts()
    assert (row["before"], row["after"], row["trace_count"]) == (["0/0"], ["1/0"], 1)


def test_a_region_without_a_graph_is_counted_by_its_rest(make_run):
    log = [start("0/0"), graph_break("0/0"), metrics("0/0", 0, graph_op_count=None)]
    log += compiled("1/0", 1, "fb", co_name="torch_dynamo_resume_in_forward_at_13")
    (row,) = graph_breaks(make_run([*region(SECOND, 20, "1/0", "fb"), *region(SECOND + 50, 20, "1/0", "fb")], log)).to_dicts()
    assert (row["trace_count"], row["split_count"]) == (2, 0)


def test_two_places_are_two_breaks_and_two_callers_one(make_run):
    log = [start("0/0"), graph_break("0/0"), start("1/0", "other"), graph_break("1/0"), start("2/0"), graph_break("2/0", line=20)]
    rows = graph_breaks(make_run(log=log)).select("break", "log_count").rows()
    assert rows == [("GB0124 model.py:13", 2), ("GB0124 model.py:20", 1)]


def test_a_bare_skip_belongs_to_the_break_at_its_place(make_run):
    skip = graph_break("1/0", preamble="Skipping the function and falling back to eager.\n", gb_id="x")
    run = make_run(log=[start("0/0"), graph_break("0/0"), start("1/0", "caller", 40), skip])
    (row,) = graph_breaks(run).to_dicts()
    (skipped,) = row["consequences"]
    assert (row["gb_id"], row["log_count"]) == ("GB0124", 2)
    assert (skipped["function"], skipped["line"]) == ("caller", 40)


REGISTRY = {"GB0007": [{"Gb_type": "Unsupported {name} call", "Explanation": "from the registry", "Hints": ["a hint"]}]}


@pytest.mark.parametrize(
    ("registry", "gb_id", "hints"),
    [
        (gzip.compress(json.dumps(REGISTRY).encode(), mtime=0), "GB0007", ["Capture scalars.", "Or move it out."]),
        (b"no gzip", None, ["Capture scalars.", "Or move it out."]),
        (gzip.compress(b"[1]", mtime=0), None, ["Capture scalars.", "Or move it out."]),
    ],
)
def test_the_registry_names_a_break_whose_text_does_not(make_run, registry, gb_id, hints):
    run = make_run(log=[start("0/0"), graph_break("0/0", gb_id="x")], registry=registry)
    (row,) = graph_breaks(run).to_dicts()
    assert (row["gb_id"], row["hints"]) == (gb_id, hints)


def test_compilations_inside_a_trace(make_run):
    spans = [(0.0, 100.0, "dynamo"), (1.0, 2.0, "dynamo_data: compile_id=0/1"), (5.0, 80.0, "entire_frame_compile")]
    spans += [(6.0, 1.0, "entire_frame_compile_data: fn_name=_compile.compile_inner, compile_id=0/1"), (200.0, 10.0, "dynamo")]
    rows = compilations(make_run(spans).trace()).select("compile_id", "ts_ns", "dur_ns").rows()
    assert rows == [("0/1", 0, 100_000), (None, 200_000, 10_000)]


def test_columns_do_not_depend_on_rows(make_run):
    run = make_run([(5.0, 3.0, "aten::mm")], [])
    assert graph_breaks(run).height == break_spans(run).height == 0
    assert joined_regions(run).schema["generation"] == pl.Int64

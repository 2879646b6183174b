"""Figures hold the numbers of the frames that they are made of, and names in them are text."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from dashboards.charts import boxes, compare, compiles, floor, kernels, ledger, memory, runs, style
from profiler.core import palette
from profiler.metrics.compare_memory import Bytes
from profiler.metrics.listing import RunRow
from profiler.metrics.memory import MemoryTimeline
from profiler.rules.context import Row

GIB = 1 << 30


def run_row(name: str, ms: float | None, gib: float | None, **more: object) -> RunRow:
    return replace(RunRow(run=name, name=name, model="flux", scheme="bf16", median_ms=ms, inference_peak_gib=gib), **more)


def ledger_row(kind: str, label: str, ms: float, detail: str = "") -> Row:
    return Row(f"{kind}/{label}/{detail}", kind, label, detail, "", 2.0, ms * 1e6, ms * 1e6, ms * 1e6)


def test_the_front_holds_what_nothing_beats():
    rows = [
        run_row("slow", 9, 9),
        run_row("fast", 1, 8),
        run_row("small", 5, 2),
        run_row("worse", 6, 3),
        run_row("none", None, 1),
    ]
    assert [row.name for row in runs.pareto(rows)] == ["fast", "small"]
    assert runs.pareto([]) == []


def test_of_equal_runs_one_is_on_the_front():
    assert len(runs.pareto([run_row("a", 1, 1), run_row("b", 1, 1)])) == 1


def test_a_front_of_one_run_is_marked_too():
    rows = [run_row("best", 1000, 1), run_row("worse", 2000, 2)]
    (rings,) = [trace for trace in runs.scatter(rows).data if trace.name == "on the front"]
    assert (list(rings.x), list(rings.y)) == ([1.0], [1])
    assert runs.group_name(rows) == "flux (2)"


def test_runs_of_other_models_are_not_held_against_each_other():
    rows = [run_row("a", 1, 1), run_row("b", 9, 9, model="video"), run_row("c", 8, 8, model="video")]
    assert [[row.name for row in group] for group in runs.comparable(rows)] == [["b", "c"], ["a"]]
    lines = [trace for trace in runs.scatter(rows).data if trace.mode == "lines"]
    assert [(list(line.x), list(line.y)) for line in lines] == [([0.008], [8])]


def test_the_scatter_is_in_seconds_and_gib():
    figure = runs.scatter([run_row("a", 2500, 22.5)])
    assert (figure.data[0].x, figure.data[0].y) == ((2.5,), (22.5,))
    assert "s" in figure.layout.xaxis.title.text and "GiB" in figure.layout.yaxis.title.text


def test_the_ledger_bar_sums_to_the_window():
    rows = [ledger_row("busy", "GEMM bf16", 6), ledger_row("busy", "attention", 3), ledger_row("idle", "host wait", 1)]
    rows += [ledger_row("busy", "copy", 0.001, str(number)) for number in range(3)] + [ledger_row("busy", "norm", 0.002)]
    figure = ledger.bar(rows, "step")
    assert [trace.name for trace in figure.data] == ["GEMM bf16", "attention", "other, busy", "host wait"]
    assert sum(trace.x[0] for trace in figure.data) == pytest.approx(10.005)
    assert figure.data[0].marker.color == palette.CLASSES["GEMM bf16"]
    assert [trace.marker.pattern.shape for trace in figure.data] == ["", "", "", "/"]


def test_an_empty_ledger_is_an_empty_figure():
    assert style.empty(ledger.bar([], "step"))


LEDGER = pl.DataFrame(
    {
        "index": [0, 0, 1, 1],
        "kind": ["busy", "busy", "busy", "idle"],
        "label": ["GEMM bf16", "attention", "GEMM bf16", "host wait"],
        "detail": ["gemm", "flash", "gemm", ""],
        "count": [2, 1, 2, 1],
        "total_ns": [4_000_000, 1_000_000, 3_000_000, 2_000_000],
    }
)


def test_kernels_of_a_ledger():
    found = kernels.of_ledger(LEDGER)
    assert found.columns == list(kernels.KERNEL_COLUMNS)
    assert found.row(0) == ("gemm", "GEMM bf16", 4, 7.0, 1750.0, 0.875)
    assert found["share"].sum() == pytest.approx(1.0)
    assert kernels.per_class(found) == {"GEMM bf16": 7.0, "attention": 1.0}


def test_the_icicle_sums_at_every_level():
    box = kernels.icicle(kernels.of_ledger(LEDGER), "all steps").data[0]
    values = dict(zip(box.ids, box.values, strict=True))
    whole = box.ids[0]
    assert values[whole] == 8.0
    assert sum(value for identity, value in values.items() if box.parents[box.ids.index(identity)] == whole) == 8.0
    assert box.marker.colors[1] == palette.CLASSES["GEMM bf16"]


def test_small_boxes_of_one_parent_become_one():
    rows = pl.DataFrame({"class": ["c"] * 30, "name": [f"k{number:02}" for number in range(30)], "ms": [1.0] * 30, "n": [1] * 30})
    found = boxes.boxes(rows, ("class", "name"), "ms", "n")
    assert found[-1].path == ("c", "22 more")
    assert sum(each.value for each in found if len(each.path) == 2) == 30.0


def test_each_step_is_a_bar_of_its_whole_length():
    figure = kernels.stability(LEDGER)
    of_step = {
        step: sum(x for trace in figure.data for y, x in zip(trace.y, trace.x, strict=True) if y == step) for step in (0, 1)
    }
    assert of_step == {0: 5.0, 1: 5.0}


def test_two_runs_beside_each_other():
    one = kernels.of_ledger(LEDGER)
    figure = kernels.beside(one, one.filter(pl.col("class") == "attention"), ("a", "b"), "a step")
    assert dict(zip(figure.data[1].y, figure.data[1].x, strict=True)) == {"attention": 1.0, "GEMM bf16": 0.0}


def test_runs_of_other_numbers_of_steps_are_held_against_each_other_by_the_step():
    one = kernels.a_repeat(kernels.of_ledger(LEDGER), 2)
    assert kernels.per_class(one) == {"GEMM bf16": 3.5, "attention": 0.5}
    apart = kernels.differences(one, one.filter(pl.col("class") == "attention"))
    assert apart.row(0, named=True) == {
        "class": "GEMM bf16",
        "name": "gemm",
        "first_ms": 3.5,
        "second_ms": 0.0,
        "delta_ms": -3.5,
    }


def test_the_spread_of_a_kernel_over_the_steps():
    found = kernels.with_spread(kernels.of_ledger(LEDGER), LEDGER)
    # gemm takes 4 and 3 ms; flash 1 ms in the first step and nothing in the second.
    assert dict(found.select("name", "spread").iter_rows()) == {"gemm": pytest.approx(1 / 3.5), "flash": 2.0}


def test_phases_of_a_compile_do_not_overlap():
    nested = {"dynamo_ns": 10e9, "aot_ns": 6e9, "inductor_ns": 4e9, "codegen_ns": 3e9, "triton_ns": 1e9}
    row = {"generation": 0, "compile_id": "0/0", "function": "forward", "dur_ns": 11e9} | nested
    other = {"generation": 0, "compile_id": "0/1", "function": None, "dur_ns": 2e9} | dict.fromkeys(nested)
    frame = pl.DataFrame([row, other], infer_schema_length=None)
    assert compiles.phase_sums(frame) == {
        "tracing": 7.0,
        "autograd": 2.0,
        "inductor": 1.0,
        "code generation": 2.0,
        "kernel compilation": 1.0,
    }
    figure = compiles.time_bar(frame)
    assert sum(sum(trace.x) for trace in figure.data) == 13.0
    assert list(figure.data[0].y) == ["[0/1] ?", "[0/0] forward"]


def timeline(**labels: list[int]) -> MemoryTimeline:
    count = len(next(iter(labels.values())))
    rows = [(index, 1000 * index, name, size) for name, sizes in labels.items() for index, size in enumerate(sizes)]
    frame = pl.DataFrame(rows, schema=["index", "time_us", "label", "live_bytes"], orient="row")
    total = frame.group_by("index", "time_us", maintain_order=True).agg(pl.col("live_bytes").sum())
    total = total.with_columns(pl.lit("").alias("window"), pl.lit(0).alias("reserved_bytes"))
    windows = pl.DataFrame({"name": ["step"], "index": [0], "label": ["step/0"], "start_us": [0], "end_us": [1000 * count]})
    return MemoryTimeline("category", frame.sort("index"), total, windows)


def test_the_memory_timeline_is_stacked_in_gib_over_ms():
    figure = memory.stacked(timeline(weights=[2 * GIB] * 3, activations=[0, GIB, 0]))
    assert [trace.name for trace in figure.data] == ["weights", "activations"]
    assert list(figure.data[0].x) == [0.0, 1.0, 2.0]
    assert [sum(values) for values in zip(*(trace.y for trace in figure.data), strict=True)] == [2.0, 3.0, 2.0]
    assert figure.data[0].fillcolor == palette.CATEGORIES["weights"]
    assert "GiB" in figure.layout.yaxis.title.text
    assert figure.layout.annotations[0].text == "step/0"


def test_only_what_comes_and_goes():
    figure = memory.stacked(timeline(weights=[2 * GIB] * 3, activations=[GIB, 3 * GIB, GIB]), only_changes=True)
    assert [list(trace.y) for trace in figure.data] == [[0.0] * 3, [0.0, 2.0, 0.0]]


def test_small_memory_is_in_mib():
    figure = memory.stacked(timeline(weights=[1 << 20] * 2))
    assert list(figure.data[0].y) == [1.0, 1.0]
    assert "MiB" in figure.layout.yaxis.title.text


def test_the_waterfall_starts_at_the_base_and_ends_at_the_new_run():
    changes, unit = compare.of_bytes([Bytes("weights", 4 * GIB, GIB), Bytes("activations", GIB, GIB), Bytes("rounding", None, 1)])
    bar = compare.waterfall(changes, unit, ("old", "new")).data[0]
    assert unit == "GiB"
    assert (list(bar.x), list(bar.y)) == (["old", "weights", "new"], [5.0, -3.0, 2.0])
    assert list(bar.measure) == ["absolute", "relative", "total"]


@pytest.mark.parametrize("name", ["<b>bold</b>", "a<br>b", "f<int>(x)", "<a href='javascript:alert(1)'>x</a>", "&lt;"])
def test_names_are_text_in_figures(name: str):
    assert "<" not in style.label(name)
    rows = pl.DataFrame({"name": [name], "class": [name], "count": [1], "total_ns": [10]})
    shown = kernels.icicle(kernels.with_units(rows), "x").to_json()
    assert "<b>bold" not in shown and "<a href" not in shown and "f<int>" not in shown


def test_classes_above_their_floor():
    row = {"count": 1.0, "priced": 1.0, "clamped": 0.0, "flops": 4e9, "bound": "FLOP"}
    classes = [
        row | {"class": "GEMM bf16", "measured_ns": 10e6, "floor_ns": 8e6, "ratio": 1.25},
        row | {"class": "norm", "measured_ns": 1.0, "floor_ns": 0.0, "ratio": None},
    ]
    measured, least = floor.bars(pl.DataFrame(classes), "step").data
    assert (list(measured.y), list(measured.x), list(least.x)) == (["GEMM bf16"], [10.0], [8.0])
    assert measured.text == ("1.25 ×",)
    assert "0 TFLOP/s" in measured.hovertext[0] and "bound by FLOP" in measured.hovertext[0]

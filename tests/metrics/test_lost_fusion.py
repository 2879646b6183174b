"""Bytes that cross a graph break."""

from __future__ import annotations

from ledger_traces import graph, op, region, run_of

from profiler.metrics.lost_fusion import crossing_bytes


def _op(name, start, *shapes, kind="c10::BFloat16"):
    dims, types = [list(each) for each in shapes], [kind] * len(shapes)
    return op(name, start, start + 5, **{"Input Dims": dims, "Input type": types})


def _run(tmp_path, *operators):
    return run_of(tmp_path, [region("6/1", 0, 100), graph(1, 90), *operators])


def test_the_tensor_that_the_last_reduction_reads(tmp_path):
    run = _run(
        tmp_path,
        _op("triton_poi_fused_cat_0", 10, (4608, 15360)),
        _op("aten::addmm", 20, (3072,), (4608, 15360), (15360, 3072)),
        _op("triton_red_fused_max_1", 30, (1, 4608, 3072), (1024,)),
        _op("triton_per_fused_max_2", 40, (1024,), ()),
    )
    assert crossing_bytes(run, ["6/1"]) == 4608 * 3072 * 2
    assert crossing_bytes(run, ["7/0"]) is None


def test_weights_do_not_cross(tmp_path):
    run = _run(tmp_path, _op("triton_poi_fused_0", 10, (64, 32)), _op("aten::mm", 20, (64, 32), (32, 100_000)))
    assert crossing_bytes(run, ["6/1"]) == 64 * 32 * 2


def test_a_trace_without_shapes_tells_nothing(tmp_path):
    assert crossing_bytes(_run(tmp_path, op("triton_poi_fused_0", 10, 20)), ["6/1"]) is None


def test_the_median_of_the_calls(tmp_path):
    events = []
    for index, rows in enumerate((10, 30, 1000)):
        start = index * 200
        events += [
            region("6/1", start, start + 100),
            graph(start + 1, start + 90),
            _op("triton_poi_fused_0", start + 10, (rows, 8)),
        ]
    assert crossing_bytes(run_of(tmp_path, events), ["6/1"]) == 30 * 8 * 2

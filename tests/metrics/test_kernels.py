"""The kernel breakdown of small traces, and what holds for any."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.metrics.kernels import breakdown
from profiler.tables.trace import open_trace


def _of(events):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.json"
        path.write_text(json.dumps({"traceEvents": events}))
        return breakdown(open_trace(path, Path(folder) / "cache"))


def test_gpu_time_by_kernel_and_class(gpu_events):
    result = _of(gpu_events)
    assert result.source == "gpu"
    assert result.kernels.select("name", "class", "count", "total_ns").rows() == [
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn", "GEMM bf16", 2, 4003),
        ("Memcpy HtoD (Pageable -> Device)", "copy", 1, 2000),
        ("Memset (Device)", "memset", 1, 500),
    ]
    first = result.kernels.row(0, named=True)
    assert (first["total_us"], first["mean_us"], first["share"]) == (4.003, 2.0015, pytest.approx(4003 / 6503))
    assert result.classes.select("class", "count", "total_ns").rows() == [
        ("GEMM bf16", 2, 4003),
        ("copy", 1, 2000),
        ("memset", 1, 500),
    ]


def test_without_a_gpu_self_time_of_operators_takes_its_place(make_span):
    types = {"Input type": ["float", "float"]}
    events = [
        make_span("diffuscope/call", "user_annotation", 0, 200),
        make_span("aten::linear", "cpu_op", 0, 100, **types),
        make_span("aten::addmm", "cpu_op", 10, 80, **types),
        make_span("aten::mul", "cpu_op", 120, 5),
        make_span("aten::mul", "cpu_op", 120, 7) | {"tid": 2},
    ]
    result = _of(events)
    assert result.source == "cpu"
    assert result.kernels.select("name", "class", "count", "total_ns").rows() == [
        ("aten::addmm", "GEMM fp32", 1, 80_000),
        ("aten::linear", "GEMM fp32", 1, 20_000),
        ("aten::mul", "pointwise", 2, 12_000),
    ]


def test_one_operator_in_two_dtypes_is_two_rows(make_span):
    events = [
        make_span("aten::mm", "cpu_op", 10 * n, 5, **{"Input type": [t]})
        for n, t in enumerate(["float", "c10::BFloat16", "float"])
    ]
    assert _of(events).kernels.select("class", "count").rows() == [("GEMM fp32", 2), ("GEMM bf16", 1)]


def test_nothing_at_all_and_nothing_that_took_time(make_span):
    empty = _of([])
    assert (empty.source, empty.kernels.height, empty.classes.height) == ("none", 0, 0)
    timeless = _of([make_span("k", "kernel", 1, 0)])
    assert timeless.kernels.select("count", "total_us", "mean_us", "share").rows() == [(1, 0.0, 0.0, 0.0)]


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["kernel", "gpu_memcpy", "gpu_memset", "cpu_op", "gpu_user_annotation"]),
        st.sampled_from(["nvjet_sm90_tst_1", "triton_poi_fused_silu_0", "x"]),
        st.integers(0, 10_000),
        st.integers(0, 5_000),
    ),
    max_size=30,
)


@given(_EVENTS)
@settings(max_examples=50, deadline=None)
def test_shares_sum_to_one_and_classes_to_kernels(drawn):
    events = [{"ph": "X", "cat": c, "name": n, "pid": 1, "tid": 1, "ts": ts / 1000, "dur": dur / 1000} for c, n, ts, dur in drawn]
    result = _of(events)
    busy = [row for row in drawn if row[0] in ("kernel", "gpu_memcpy", "gpu_memset")]
    counted = busy or [row for row in drawn if row[0] == "cpu_op"]
    assert result.source == ("gpu" if busy else "cpu" if counted else "none")
    assert result.kernels["count"].sum() == result.classes["count"].sum() == len(counted)
    total = result.kernels["total_ns"].sum()
    assert total == result.classes["total_ns"].sum()
    if busy:
        assert total == sum(row[3] for row in busy)
    for frame in (result.kernels, result.classes):
        assert frame["share"].sum() == pytest.approx(1.0 if total else 0.0)
        assert frame["total_ns"].to_list() == sorted(frame["total_ns"].to_list(), reverse=True)
    assert result.kernels.select("name", "class").is_duplicated().sum() == 0

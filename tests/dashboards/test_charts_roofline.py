"""The roofline: points where arithmetic puts them, roofs that were measured."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from dashboards.charts import roofline, style
from profiler.metrics.floor_ceilings import Raised
from profiler.metrics.roofline import TYPES, Roofline

CEILINGS = {"bf16_tflops": 800.0, "int8_tops": 900.0, "copy_gbs": 2000.0}


def call(name: str, ms: float, intensity: float, ceiling: str | None = "bf16_tflops") -> dict[str, object]:
    work = {"flops": 1e12, "size_bytes": 1e12 / intensity}
    return (
        {"class": name, "op": "aten::mm", "kernel": "k<int>", "shape": "2×3 · 3×4", "count": 2.0, "measured_ns": ms * 1e6}
        | work
        | {"ceiling": ceiling}
    )


def found(*calls: dict[str, object]) -> Roofline:
    return Roofline(pl.DataFrame(list(calls), schema=TYPES), CEILINGS)


def test_points_stand_at_their_rate_and_intensity():
    figure = roofline.plot(found(call("GEMM bf16", 2.0, 1000.0), call("attention", 4.0, 10.0)))
    roof, gemm, attention = figure.data
    # 10^12 operations in 2 ms are 500 * 10^12 a second.
    assert (list(gemm.x), list(gemm.y)) == ([pytest.approx(1000.0)], [pytest.approx(500.0)])
    assert gemm.marker.size[0] < attention.marker.size[0]
    assert "62% of its roof" in gemm.hovertext[0]
    # At 400 FLOP a byte memory no longer holds bf16 back.
    assert dict(zip(roof.x, roof.y, strict=True))[400.0] == 800.0
    assert roof.y[0] == pytest.approx(roof.x[0] * 2.0)


def test_only_dtypes_that_run_have_a_roof():
    figure = roofline.plot(found(call("GEMM int8", 1.0, 100.0, "int8_tops"), call("GEMM fp64", 1.0, 100.0, None)))
    assert [trace.name for trace in figure.data if trace.mode == "lines"] == ["most of int8: 900 TOP/s"]


def test_a_rate_above_its_roof_says_why():
    figure = roofline.plot(found(call("GEMM bf16", 1.0, 1000.0)))
    # 1000 * 10^12 a second under a roof of 800.
    assert "125% of its roof (another clock, or data still in the cache)" in figure.data[1].hovertext[0]


def test_a_raised_roof_is_marked():
    raised = replace(found(call("GEMM int8", 1.0, 100.0, "int8_tops")), raised=(Raised("int8_tops", 500.0, 900.0, "k"),))
    assert roofline.plot(raised).data[0].name == "most of int8: 900 TOP/s, as reached here"


def test_names_are_text():
    assert "k<int>" not in roofline.plot(found(call("GEMM", 1.0, 1.0))).to_json()


def test_nothing_to_place_is_an_empty_figure():
    assert style.empty(roofline.plot(Roofline(why="no ceilings")))

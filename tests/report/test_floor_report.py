"""The floor as text and as JSON."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from profiler.metrics.floor import Floor
from profiler.metrics.floor_ceilings import Raised
from profiler.report.floor import raised_text, render, to_json

_TEXT = ("class", "bound")
_CLASSES = ("class", "count", "priced", "clamped", "measured_ns", "floor_ns", "ratio", "flops", "bound")
_SCHEMA = {name: pl.String if name in _TEXT else pl.Float64 for name in _CLASSES}


def _floor(rows, unpriced=(), why=""):
    classes = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    names = {"why": pl.String, "name": pl.String, "count": pl.Float64, "measured_ns": pl.Float64}
    return Floor(classes, pl.DataFrame(list(unpriced), schema=names, orient="row"), why)


_STEP = _floor(
    [
        ("GEMM bf16", 504.0, 504.0, 2.0, 80e6, 70e6, 80 / 70, 59.5e12, "FLOP"),
        ("copy", 10.0, 10.0, 0.0, 20e6, 0.0, None, 0.0, "bytes"),
        ("other", 4.0, 0.0, 0.0, 0.1e6, 0.1e6, 1.0, 0.0, ""),
    ],
    [("no shapes", "aten::gather", 4.0, 0.1e6)],
)


def test_the_sentence_the_classes_and_what_is_not_known():
    text = render(_STEP, "step", 112.16e6, 100).splitlines()
    assert text[0] == "a step stands at 1.60 x its floor of 70.1 ms"
    assert [line.split() for line in text[3:6]] == [
        ["GEMM", "bf16", "80.000", "70.000", "1.14", "FLOP"],
        ["copy", "20.000", "0.000", ">100", "bytes"],
        ["1", "smaller", "class", "0.100", "0.100", "1.00"],
    ]
    assert text[6] == "no shapes for 4 kernels, 0.100 ms (aten::gather): counted as measured"
    assert text[7].startswith("2 kernels beat the measured rates")


def test_json_is_in_microseconds():
    found = to_json(_STEP, 112.16e6)
    assert (found["floor_us"], found["ratio"], found["unpriced_us"], found["why"]) == (70_100.0, 1.6, 100.0, "")
    assert found["classes"][0] == {"class": "GEMM bf16", "measured_us": 80_000.0, "floor_us": 70_000.0, "bound": "FLOP"}


def test_a_ceiling_that_a_kernel_beat_is_said():
    beaten = Raised("int8_tops", 936.4, 1618.1, "warpgroup_kernel", "aten::_int_mm at 8192x8192x8192")
    floor = replace(_STEP, raised=(beaten,))
    text = render(floor, "step", 112.16e6, 100)
    said = (
        "the run's ceiling of int8, 936 TOPS, was measured with another kernel, aten::_int_mm at 8192x8192x8192: "
        "warpgroup_kernel reached 1,618 here, and that was taken"
    )
    assert said in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
    assert to_json(floor, 112.16e6)["raised"] == [
        {
            "name": "int8_tops",
            "recorded": 936.4,
            "reached": 1618.1,
            "kernel": "warpgroup_kernel",
            "measured_with": "aten::_int_mm at 8192x8192x8192",
            "text": said,
        }
    ]
    # A run of before says not with which.
    assert "with another kernel: warpgroup_kernel reached" in raised_text(replace(beaten, measured_with=""))


def test_no_floor_says_why():
    none = _floor([], why="the run has no measured ceilings")
    assert render(none, "step", 1e6, 100) == "no floor: the run has no measured ceilings"
    assert to_json(none, 1e6) == {
        "floor_us": None,
        "ratio": None,
        "classes": [],
        "raised": [],
        "unpriced_us": None,
        "why": "the run has no measured ceilings",
    }

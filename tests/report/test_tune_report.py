"""A tuning's numbers and its text, from a run written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from profiler.core.errors import UnreadableInput
from profiler.metrics.tune import tune_result
from profiler.report.tune import tune_data, tune_text
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

BIG = {"m": 4608, "k": 3072, "n": 12288, "count": 38}
SMALL = {"m": 512, "k": 64, "n": 64, "count": 2}
# 2 * 4608 * 3072 * 12288 operations in 300 us are 1159.6 TOPS.
FOUND: dict[str, Any] = {
    "key": {"device": "NVIDIA H100 80GB HBM3", "torch": "2.11.0+cu130", "triton": "3.6.0", "kernels": 1},
    "table": "/home/me/tuned.json",
    "seed": 7,
    "wanted": 2,
    "shapes": [
        BIG
        | {
            "best": {"kernel": "hopper:block_m=128", "config": {"block_m": 128}, "us": 300.0, "tops": 1159.6},
            "baselines": {"int_mm x scale": 739.0, "bf16": 423.0, "fp8 row-wise": 255.0},
            "spaces": {"torchao": {"kernel": "torchao:x", "us": 330.0}},
            "candidates": 190,
            "failed": {"hopper:b": "OutOfResources"},
            "wrong": {"hopper:c": "3 outputs are wrong", "hopper:d": "1 output is wrong"},
            "seconds": 9.5,
        },
        SMALL
        | {
            "best": {"kernel": "cublaslt:scaled", "us": 8.0, "tops": 0.5},
            "baselines": {"int_mm x scale": 7.0, "bf16": 6.0},
            "candidates": 3,
        },
    ],
    "refused": [{"m": 5, "k": 6, "n": 7, "count": 1, "why": "no kernel fits 5x6x7"}],
}
CEILINGS = {"int8_tops": 1400.0, "fp8_tflops": 1450.0, "bf16_tflops": 780.0}


def run_of(
    folder: Path,
    found: Any,
    ceilings: dict[str, float] | None = CEILINGS,
    kernels: dict[str, str] | None = None,
    **manifest: Any,
) -> Run:
    environment = {"ceilings": ceilings, "ceiling_kernels": kernels or {}}
    made = Manifest(kind="tune", status="ok", environment=environment, **manifest)
    (folder / "run.json").write_text(json.dumps(made.to_dict()))
    (folder / "tune.json").write_text(found if isinstance(found, str) else json.dumps(found))
    return Run.open(folder)


def test_rates_shares_and_milliseconds_a_step(tmp_path: Path):
    result = tune_result(run_of(tmp_path, FOUND))
    big, small = result.shapes.iter_rows(named=True)
    assert big["tops"] == pytest.approx(2 * 4608 * 3072 * 12288 / 300.0 / 1e6)
    assert result.ceiling_tops == 1450.0, "the faster of int8 and fp8"
    assert big["share"] == pytest.approx(big["tops"] / 1450.0)
    assert (big["pays"], small["pays"]) == (True, False)
    assert result.rejected == 2
    # The small shape stays with the untuned product, which is faster; fp8 was not measured for it and is no total.
    assert result.step_ms == {
        "tuned": pytest.approx((38 * 300.0 + 2 * 7.0) / 1e3),
        "int_mm x scale": pytest.approx((38 * 739.0 + 2 * 7.0) / 1e3),
        "bf16": pytest.approx((38 * 423.0 + 2 * 6.0) / 1e3),
    }


def test_json_and_text(tmp_path: Path):
    data = tune_data(run_of(tmp_path, FOUND, applied={"notes": ["data.pkl: 2 configurations"]}))
    assert data["shapes"][0]["best"]["config"] == {"block_m": 128}
    assert data["shapes"][0]["baselines"] == FOUND["shapes"][0]["baselines"]
    assert (data["shapes"][0]["wrong"], data["shapes"][0]["failed"], data["rejected"]) == (2, 1, 2)
    json.dumps(data, allow_nan=False)
    for width in (80, 100, 120):
        text = tune_text(data, width)
        assert max(map(len, text.splitlines())) <= width
        (row,) = (line for line in text.splitlines() if line.startswith("4608x3072x12288"))
        assert row.split() == ["4608x3072x12288", "38", "300.0", "1159.6", "80%", "739.0", "423.0", "255.0"]
    assert "2 shapes tuned, 193 candidates, 2 wrong ones rejected" in text
    assert "NVIDIA H100 80GB HBM3, torch 2.11.0+cu130, triton 3.6.0" in text
    assert "  4608x3072x12288   hopper:block_m=128\n" in text
    assert "  512x64x64         cublaslt:scaled  (no gain: left untuned)\n" in text
    assert "limit: 1,450 TOPS" in text
    assert "2.46 times as fast as torchao's eager product" in text
    assert "untuned is torchao's eager product, int_mm x scale: `_int_mm`, then its scales" in text
    assert "5x6x7 was not tuned: no kernel fits 5x6x7" in text
    assert "data.pkl: 2 configurations" in text
    assert "each of these products once, predicted" in text, "no model, and so no step"
    assert text.endswith("kept in /home/me/tuned.json")


OWN = {"int8_tops": "warpgroup:block_m=128,wide=1 at 8192x8192x8192"}
LIMITS = {
    "an old run's own": (CEILINGS | {"own_int8_tops": 1500.0}, {}, 300.0, 1500.0, "our own int8 at 8192x8192x8192"),
    "our own": (CEILINGS | {"int8_tops": 1500.0}, OWN, 300.0, 1500.0, "warpgroup at 8192x8192x8192"),
    "a library's": (
        CEILINGS | {"int8_tops": 1500.0},
        {"int8_tops": "aten::_int_mm at 8192x8192x8192"},
        300.0,
        1500.0,
        "cuBLASLt's int8 at 8192x8192x8192",
    ),
    "a tuned shape": (CEILINGS | {"int8_tops": 1500.0}, OWN, 200.0, 1739.5, "hopper at 4608x3072x12288"),
    "a baseline": ({"int8_tops": 900.0}, {}, 300.0, 1364.3, "fp8 row-wise at 4608x3072x12288"),
}


@pytest.mark.parametrize("case", LIMITS)
def test_the_limit_is_the_fastest_of_all_that_was_measured(tmp_path: Path, case: str):
    ceilings, kernels, us, tops, source = LIMITS[case]
    found = json.loads(json.dumps(FOUND))
    found["shapes"][0]["best"]["us"] = us
    data = tune_data(run_of(tmp_path, found, ceilings, kernels))
    assert (round(data["ceiling_tops"], 1), data["ceiling_from"]) == (tops, source)
    assert max(each["best"]["share"] for each in data["shapes"]) <= 1.0
    assert f"limit: {data['ceiling_tops']:,.0f} TOPS, reached in this run by {source}" in tune_text(data)


def test_without_a_ceiling_there_is_no_share(tmp_path: Path):
    data = tune_data(run_of(tmp_path, FOUND, ceilings=None))
    assert (data["ceiling_tops"], data["ceiling_from"]) == (None, "")
    assert data["shapes"][0]["best"]["share"] is None
    assert "limit:" not in tune_text(data)


def test_an_interrupted_tuning_says_how_far_it_came(tmp_path: Path):
    data = tune_data(run_of(tmp_path, FOUND | {"shapes": FOUND["shapes"][:1], "wanted": 12, "refused": []}))
    assert "1 of 12 shapes tuned" in tune_text(data)
    nothing = tune_data(run_of(tmp_path, FOUND | {"shapes": [], "refused": []}))
    assert (nothing["step_ms"], nothing["rejected"]) == ({}, 0)
    assert "0 of 2 shapes tuned, 0 candidates" in tune_text(nothing)


BROKEN = {
    "no JSON": "{",
    "no object": "[]",
    "a shape without a kernel": json.dumps({"shapes": [BIG | {"best": {"us": 1.0}}]}),
    "a time that is no number": '{"shapes": [{"m": 1, "k": 1, "n": 1, "count": 1, "best": {"kernel": "k", "us": NaN}}]}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_one_error(tmp_path: Path, name: str):
    with pytest.raises(UnreadableInput, match=r"tune\.json cannot be read"):
        tune_data(run_of(tmp_path, BROKEN[name]))


def test_a_run_without_results(tmp_path: Path):
    run = run_of(tmp_path, FOUND)
    (tmp_path / "tune.json").unlink()
    with pytest.raises(UnreadableInput, match=r"holds no tune\.json"):
        tune_data(run)

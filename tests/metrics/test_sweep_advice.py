"""What the answer of a sweep recommends, and what it says it does not know."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sweep_folders import cell, manifest, rated, spec, sweep_json, sweep_of, tensors, write_run

from profiler.metrics.quality import TENSORS
from profiler.metrics.sweep import sweep_result
from profiler.metrics.sweep_advice import (
    BUDGET,
    FAITHFUL,
    FASTEST,
    NEAREST,
    RELATIVE,
    SMALLEST,
    THROUGHPUT,
    Budget,
    advise,
    not_known,
)
from profiler.metrics.sweep_dtypes import bfloat16, other_dtype


def test_the_recommendation_in_words(tmp_path: Path):
    result = sweep_result(rated(tmp_path / "s"), max_memory_gib=24.0, min_sqnr_db=15.0)
    found = {each.what: (each.cell, each.text) for each in result.recommended}
    assert found == {
        FASTEST: (
            "fast",
            "fast: 2.000 s (1.50 times as fast as bf16-compiled, the fastest bf16 cell), "
            "23.00 GiB at the inference peak, SQNR 12.0 dB",
        ),
        SMALLEST: (
            "small",
            "small: 3.200 s (0.94 times as fast as bf16-compiled, the fastest bf16 cell), "
            "20.00 GiB at the inference peak, SQNR 18.1 dB",
        ),
        NEAREST: (
            "true",
            "true: 3.500 s (0.86 times as fast as bf16-compiled, the fastest bf16 cell), "
            "23.00 GiB at the inference peak, SQNR 36.1 dB",
        ),
        BUDGET: (
            "small",
            "24 GiB and at least 15 dB: small, the smallest too; loading and quantizing as recorded peaks at 32.00 GiB: "
            "choose --quantize-on cpu or per-layer",
        ),
    }


def test_where_the_fastest_is_far_from_bf16_the_fastest_near_it_is_named_too(tmp_path: Path):
    folder = rated(tmp_path / "s")
    found = {each.what: (each.cell, each.text) for each in sweep_result(folder).recommended}
    assert found[FAITHFUL] == ("bf16-compiled", "bf16-compiled: 3.000 s, 33.00 GiB at the inference peak, SQNR 48.2 dB")
    assert list(found) == [FASTEST, FAITHFUL, SMALLEST, NEAREST]
    tensors(folder / "fast", 2**-4)
    assert FAITHFUL not in {each.what for each in sweep_result(folder).recommended}


def test_the_fastest_of_unknown_sqnr_is_not_near_bf16(tmp_path: Path):
    folder = rated(tmp_path / "s")
    (folder / "fast" / "output.npz").unlink()
    found = {each.what: each for each in sweep_result(folder).recommended}
    assert (found[FASTEST].cell, found[FAITHFUL].cell) == ("fast", "bf16-compiled")
    assert found[FASTEST].text.endswith("23.00 GiB at the inference peak, SQNR not known")


def test_an_extrapolated_time_that_is_all_error_says_nothing(tmp_path: Path):
    parts = {"from_steps": [4, 8], "fixed_ms": 100.0, "step_ms": 50.0, "error_ms": 100.0}
    write_run(tmp_path / "s" / "a", manifest(spec("int8wo", steps=8)))
    asked = cell("a", spec("int8wo", steps=8))
    note = "extrapolated times that may be off by half or more say nothing: a"
    for error_ms, said in ((100.0, False), (800.0, True)):
        sweep_json(tmp_path / "s", [asked | {"extrapolated": parts | {"error_ms": error_ms}}])
        assert (note in sweep_result(tmp_path / "s").not_known) is said


def test_what_the_sweep_says_of_a_cell_that_went_well_is_said(tmp_path: Path):
    write_run(tmp_path / "s" / "a", manifest(spec("int8wo")))
    sweep_json(tmp_path / "s", [cell("a", spec("int8wo"), reason="not extrapolated to 50 steps")])
    assert "a: not extrapolated to 50 steps" in sweep_result(tmp_path / "s").not_known


def test_bf16_counts_as_near_bf16_whatever_rounding_does(tmp_path: Path):
    folder = rated(tmp_path / "s")
    tensors(folder / "bf16-compiled", 2**-3)
    result = sweep_result(folder)
    found = {each.what: (each.cell, each.text) for each in result.recommended}
    level = result.cells.filter(pl.col("id") == "bf16-compiled")["sqnr_db"].item()
    assert level == pytest.approx(18.1, abs=0.05)
    assert found[FAITHFUL] == (
        "bf16-compiled",
        "bf16-compiled: 3.000 s, 33.00 GiB at the inference peak, SQNR 18.1 dB, by rounding alone: it is bf16",
    )
    note = "bf16-compiled is bf16 too and at 18.1 dB, by the order of rounding alone"
    assert any(each.startswith(note) for each in result.not_known)
    assert not any("rounding" in each for each in sweep_result(rated(tmp_path / "t")).not_known)


def test_graphs_from_the_cache_and_missing_pictures_are_said(tmp_path: Path):
    made = manifest(spec(compile="regional"), caches={"fx_hits": 3, "fx_misses": 1})
    cold = manifest(spec("int8wo", "regional"), caches={"fx_hits": 0, "fx_misses": 3})
    notes = sweep_result(sweep_of(tmp_path / "s", {"warm": made, "cold": cold})).not_known
    assert "graphs that were compiled before were found by warm (3 of 4): their compile s is less than compiling takes" in notes
    rows = [{"id": "a", "status": "ok", "time_s": 1.0, "extrapolated": False, "sqnr_db": 20.0, "psnr_db": 30.0}]
    rows += [rows[0] | {"id": "b", "psnr_db": None, "quality_note": "b holds no output.png"}]
    rows += [rows[1] | {"id": "base", "sqnr_db": math.inf}]
    assert "PSNR is not known of b: b holds no output.png" in not_known(rows, [], [], {})
    assert not [note for note in not_known(rows[1:], [], [], {}) if "PSNR is" in note], "nobody has one"


@pytest.mark.parametrize(
    ("budget", "cell", "text"),
    [
        ({"max_memory_gib": 10.0}, None, "no cell keeps 10 GiB"),
        ({"max_memory_gib": 1 / 1024}, None, "no cell keeps 1 MiB"),
        ({"min_sqnr_db": 30.0}, "bf16-compiled", "at least 30 dB: bf16-compiled: 3.000 s, 33.00 GiB"),
        ({"max_memory_gib": 80.0}, "fast", "80 GiB: fast, the fastest too"),
    ],
)
def test_a_budget_that_is_kept_or_not(tmp_path: Path, budget: dict[str, float], cell: str | None, text: str):
    (found,) = (each for each in sweep_result(rated(tmp_path / "s"), **budget).recommended if each.what == BUDGET)
    assert found.cell == cell
    assert found.text.startswith(text)


def test_random_weights_are_said_where_a_level_is():
    rows = [{"id": "a", "status": "ok", "time_s": 1.0, "extrapolated": False, "scheme": "bf16", "sqnr_db": math.inf}]
    assert not_known(rows, [], [{}], {}) == []
    assert not_known([rows[0] | {"psnr_db": 30.0}], [], [{}], {}) == [RELATIVE]


def test_a_plan_that_leaves_every_layer_is_not_the_nearest(tmp_path: Path):
    result = sweep_result(rated(tmp_path / "s"))
    rows = [row | {"sqnr_db": math.inf} if row["id"] == "fast" else row for row in result.cells.to_dicts()]
    nearest = [each.cell for each in advise(result.groups, rows, Budget()) if each.what == NEAREST]
    assert nearest == ["true"]


def test_what_is_as_fast_within_the_spread_is_named(tmp_path: Path):
    runs = {
        "a": manifest(spec("int8wo"), (3.0, 3.1, 3.2)),
        "near": manifest(spec("fp8wo"), (3.1, 3.22, 3.24)),
        "far": manifest(spec("fp8dqrow"), (3.3, 3.3, 3.3)),
    }
    (fastest, *_) = sweep_result(sweep_of(tmp_path / "s", runs)).recommended
    assert fastest.text.endswith("; as fast within spread: near")


def test_of_several_batch_sizes_the_most_a_second_is_named(tmp_path: Path):
    runs = {
        "one": manifest(spec("fp8dqrow"), (3.0,)),
        "four": manifest(spec("fp8dqrow", batch=4), (10.0,)),
        "eight": manifest(spec("int8wo", batch=8), (24.0,)),
        "short": manifest(spec("fp8dqrow", batch=16, steps=4), (1.0,)),
    }
    result = sweep_result(sweep_of(tmp_path / "s", runs))
    (found,) = (each for each in result.recommended if each.what == THROUGHPUT)
    assert (found.cell, found.text) == ("four", "four: 2.500 s an image, batch 4 in 10.000 s")
    assert found.work["batch_size"] == 4


def test_broken_output_is_never_recommended(tmp_path: Path):
    folder = rated(tmp_path / "s")
    np.savez(folder / "fast" / "output.npz", steps=2, **dict.fromkeys(TENSORS, np.full((1, 1000), np.nan, np.float32)))
    result = sweep_result(folder)
    assert "fast" not in {each.cell for each in result.recommended}
    assert "fast: not ranked, its output is not finite" in result.not_known


@pytest.mark.parametrize(
    ("model", "guidance", "said"),
    [
        ("flux-dev", 3.5, ": timesteps and 1000 x guidance are embedded, and bf16 makes 3504 of 3500"),
        ("flux-dev", 4.0, ": timesteps are embedded, and bf16 rounds them more"),
        # 2.90625 is the bfloat16 next to 2.9, and 2912 the one next to 2906.25.
        ("flux-dev", 2.9, ": timesteps and 1000 x guidance are embedded, and bf16 makes 2912 of 2900"),
        ("flux-dev", None, ": timesteps are embedded, and bf16 rounds them more"),
        ("flux-schnell", 3.5, ": timesteps are embedded, and bf16 rounds them more"),
        ("cogvideox-5b", 6.0, ""),
    ],
)
def test_the_level_of_fp16_is_of_no_scheme(model: str, guidance: float | None, said: str):
    rows = [{"id": f"{scheme}-none", "scheme": scheme, "sqnr_db": 9.0, "model": model} for scheme in ("bf16", "fp16", "int8wo")]
    found = other_dtype([row | {"guidance": guidance} for row in rows])
    assert found == [f"fp16-none: fp16 held against bf16, a level of no scheme{said}"]
    assert other_dtype([row | {"guidance": guidance, "sqnr_db": None} for row in rows]) == []


def test_bfloat16_is_torchs():
    values = torch.empty(2000, dtype=torch.float32).uniform_(-5000, 5000, generator=torch.Generator().manual_seed(0))
    assert [bfloat16(each) for each in values.tolist()] == values.to(torch.bfloat16).tolist()
    assert (bfloat16(0.0), bfloat16(3504.0)) == (0.0, 3504.0)

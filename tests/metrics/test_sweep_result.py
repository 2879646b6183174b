"""A sweep's table, its quality and its recommendation, from folders made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sweep_folders import GIB, cell, manifest, spec, sweep_json, sweep_of, write_run

from profiler.core.errors import UsageError
from profiler.metrics.quality import TENSORS
from profiler.metrics.sweep import sweep_result
from profiler.metrics.sweep_advice import BUDGET, FAITHFUL, FASTEST, NEAREST, RELATIVE, SMALLEST, THROUGHPUT, not_known
from profiler.metrics.sweep_cells import COLUMNS
from profiler.rundir.manifest import Failure, Manifest

PARTS = {"from_steps": [4, 8], "fixed_ms": 1000.0, "step_ms": 100.0, "error_ms": 50.0}


def tensors(run: Path, noise: float) -> None:
    """Outputs that are `noise` away from all ones: 20 log10(1 / noise) dB."""
    values = np.full((1, 1000), 1.0 + noise, np.float32)
    np.savez(run / "output.npz", steps=2, **dict.fromkeys(TENSORS, values))


def only(result, name):
    (row,) = (each for each in result.cells.iter_rows(named=True) if each["id"] == name)
    return row


def test_the_columns_of_a_finished_cell(tmp_path: Path):
    asked = spec("int8dq", "regional", fuse_qkv=True, batch=4)
    result = sweep_result(sweep_of(tmp_path / "s", {"a": manifest(asked, seconds=(3.0, 3.2, 3.1))}))
    assert result.cells.columns == list(COLUMNS)
    row = only(result, "a")
    wanted = {
        "model": "flux-dev",
        "gpu": "NVIDIA H100 80GB HBM3",
        "batch_size": 4,
        "compile": True,
        "compile_mode": "regional",
        "fuse_qkv": True,
        "compile_vae": False,
        "quantization": "int8dq",
        "sparsify": False,
        "steps": 28,
        "time_s": pytest.approx(3.1),
        "spread_s": pytest.approx(0.2),
        "model_memory_gib": 20.0,
        "inference_memory_gib": 32.0,
        "inference_peak_gib": 22.5,
        "load_peak_gib": 32.0,
        "quantize_s": 2.0,
        # 30 s of the first call less 0.5 s of a later one of as many steps.
        "compile_s": 29.5,
        "graph_breaks": 0,
        "extrapolated": False,
        "error_s": None,
        "status": "ok",
        "run": "a",
        "reason": None,
        "pareto": True,
    }
    assert {name: row[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("scheme", "quantization", "sparsify"),
    [
        ("sparsify", "int8dq", True),
        ("fp8-sparse", "fp8dqrow", True),
        ("/x/plan.json", "autoquant", False),
        ("bf16", "bf16", False),
    ],
)
def test_schemes_in_the_words_of_the_seed(tmp_path: Path, scheme: str, quantization: str, sparsify: bool):
    row = only(sweep_result(sweep_of(tmp_path / "s", {"a": manifest(spec(scheme))})), "a")
    assert (row["scheme"], row["quantization"], row["sparsify"]) == (scheme, quantization, sparsify)


def test_an_extrapolated_time_is_of_the_steps_asked_for_and_carries_its_error(tmp_path: Path):
    write_run(tmp_path / "s" / "a", manifest(spec(steps=8), seconds=(1.8, 1.8)))
    sweep_json(tmp_path / "s", [cell("a", spec(steps=8), extrapolated=PARTS)], steps=28)
    result = sweep_result(tmp_path / "s")
    row = only(result, "a")
    assert (row["steps"], row["time_s"], row["error_s"]) == (28, pytest.approx(3.8), pytest.approx(0.05))
    assert row["extrapolated"] is True
    assert "extrapolated from shorter calls: a" in result.not_known
    assert "3.800 s, extrapolated give or take 0.050 s" in result.recommended[0].text


def test_a_cell_without_a_result_has_a_row_and_no_figures(tmp_path: Path):
    write_run(tmp_path / "s" / "oom", Manifest(status="oom", spec=spec(batch=64), phases=manifest(spec()).phases[:3]))
    sweep_json(tmp_path / "s", [cell("oom", spec(batch=64), "oom", reason="no room"), cell("wait", spec("int8wo"), "queued")])
    result = sweep_result(tmp_path / "s")
    row = only(result, "oom")
    assert (row["status"], row["reason"], row["batch_size"], row["time_s"], row["inference_memory_gib"]) == (
        "oom",
        "no room",
        64,
        None,
        None,
    )
    assert row["model_memory_gib"] == 20.0
    assert (result.pareto, result.recommended, result.groups) == ([], [], [])
    assert result.not_known == ["2 of 2 cells have no time: 1 oom, 1 queued"]


def test_how_a_run_ended_is_the_reason_where_the_sweep_gives_none(tmp_path: Path):
    failure = Failure(type="OutOfMemoryError", message="no room\nat all")
    write_run(tmp_path / "a", Manifest(status="oom", spec=spec(batch=64), failure=failure))
    assert only(sweep_result(tmp_path), "a")["reason"] == "no room"


def test_on_a_cpu_model_memory_is_the_weights(tmp_path: Path):
    made = manifest(spec(), sizes=None, weight_bytes={"transformer/weight/bfloat16": GIB, "vae/weight/bfloat16": GIB // 2})
    made.environment = {"device": "cpu", "cpu": {"model": "a CPU"}}
    row = only(sweep_result(sweep_of(tmp_path / "s", {"a": made})), "a")
    assert (row["model_memory_gib"], row["inference_memory_gib"], row["inference_peak_gib"]) == (1.5, None, None)
    assert row["gpu"] == "a CPU"


def rated(folder: Path) -> Path:
    """bf16, and three schemes that are faster, smaller or truer."""
    runs = {
        "bf16": manifest(spec(), (4.0, 4.0, 4.0), (30.0, 31.0, 33.0)),
        "bf16-compiled": manifest(spec(compile="regional"), (3.0, 3.0, 3.0), (30.0, 31.0, 33.0)),
        "fast": manifest(spec("fp8dqrow", "regional"), (2.0, 2.0, 2.0), (20.0, 32.0, 23.0)),
        "true": manifest(spec("int8wo", "regional"), (3.5, 3.5, 3.5), (20.0, 32.0, 23.0)),
        "small": manifest(spec("fp6_e3m2", "regional"), (3.2, 3.2, 3.2), (17.0, 32.0, 20.0)),
    }
    sweep_of(folder, runs)
    for name, noise in {"bf16": 0.0, "bf16-compiled": 2**-8, "fast": 0.25, "true": 2**-6, "small": 0.125}.items():
        tensors(folder / name, noise)
    return folder


def test_quality_is_against_the_plainest_bf16_cell(tmp_path: Path):
    result = sweep_result(rated(tmp_path / "s"))
    assert result.cells["base"].to_list() == ["bf16"] * 5
    levels = dict(zip(result.cells["id"], result.cells["sqnr_db"], strict=True))
    assert levels["bf16"] == math.inf
    assert levels["fast"] == pytest.approx(20 * math.log10(4), abs=1e-4)
    assert levels["true"] == pytest.approx(20 * math.log10(64), abs=1e-4)
    assert only(result, "bf16")["quality_note"] == "the base"
    assert only(result, "fast")["quality_note"] == "bf16 holds no output.png", "a cell is named, not a folder of this machine"
    assert result.pareto == ["fast", "bf16-compiled", "small", "true", "bf16"]
    assert RELATIVE in result.not_known


def test_where_the_base_kept_no_picture_the_next_one_stands_in(tmp_path: Path):
    folder = rated(tmp_path / "s")
    for name, level in {"bf16-compiled": 0, "true": 1}.items():
        Image.new("RGB", (8, 8), (level, level, level)).save(folder / name / "output.png")
    result = sweep_result(folder)
    true = only(result, "true")
    assert (true["base"], true["psnr_base"]) == ("bf16", "bf16-compiled")
    assert true["psnr_db"] == pytest.approx(20 * math.log10(255))
    assert true["quality_note"] == "bf16 holds no output.png"
    assert only(result, "fast")["quality_note"] == "fast holds no output.png"
    assert "PSNR is against bf16-compiled: bf16 holds no output.png" in result.not_known
    assert "PSNR is not known of fast, small: fast holds no output.png" in result.not_known


def test_another_base_can_be_named(tmp_path: Path):
    folder = rated(tmp_path / "s")
    for base in ("true", folder / "true"):
        result = sweep_result(folder, base=base)
        assert only(result, "true")["sqnr_db"] == math.inf
        assert only(result, "bf16")["base"] == str(base)
        assert only(result, "bf16")["sqnr_db"] == pytest.approx(20 * math.log10(1 + 2**6), abs=1e-4)
    with pytest.raises(UsageError, match="base none is neither a cell nor a run"):
        sweep_result(folder, base="none")


def test_without_a_bf16_cell_quality_is_no_axis_and_says_why(tmp_path: Path):
    runs = {"a": manifest(spec("int8wo")), "b": manifest(spec("fp8wo"), (9.0,), (20.0, 32.0, 24.0))}
    result = sweep_result(sweep_of(tmp_path / "s", runs))
    assert result.cells["quality_note"].to_list() == ["no finished bf16 cell to hold it against"] * 2
    assert result.pareto == ["a"]
    assert "SQNR is not known, and no axis: no finished bf16 cell to hold it against" in result.not_known


def test_another_seed_is_no_base(tmp_path: Path):
    runs = {"bf16": manifest(spec(seed=1)), "a": manifest(spec("int8wo"))}
    result = sweep_result(sweep_of(tmp_path / "s", runs))
    assert only(result, "a")["quality_note"] == "seed is 1 in the base and 0 here"


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
    found = {each.what: each.cell for each in sweep_result(folder).recommended}
    assert (found[FASTEST], found[FAITHFUL]) == ("fast", "bf16-compiled")


def test_a_base_that_kept_nothing_leaves_its_place_to_the_next(tmp_path: Path):
    folder = rated(tmp_path / "s")
    (folder / "bf16" / "output.npz").unlink()
    cells = sweep_result(folder).cells
    assert dict(cells.select("id", "base").iter_rows()) == {
        "bf16": None,
        **dict.fromkeys(("bf16-compiled", "fast", "true", "small"), "bf16-compiled"),
    }
    assert only(sweep_result(folder), "bf16")["quality_note"].endswith("holds no output.npz")


def test_of_two_bf16_cells_that_cannot_be_compared_one_is_the_base(tmp_path: Path):
    folder = rated(tmp_path / "s")
    np.savez(folder / "bf16-compiled" / "output.npz", steps=7, **dict.fromkeys(TENSORS, np.ones((1, 1000), np.float32)))
    result = sweep_result(folder)
    assert only(result, "bf16")["sqnr_db"] == math.inf
    other = only(result, "bf16-compiled")
    assert (other["base"], other["sqnr_db"]) == (None, None)
    assert "bf16" in result.pareto and "bf16-compiled" not in result.pareto
    assert f"bf16-compiled: not ranked, no SQNR ({other['quality_note']})" in result.not_known


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


def test_an_unknown_table_to_hold_it_against(tmp_path: Path):
    with pytest.raises(UsageError, match="--against me is not known"):
        sweep_result(rated(tmp_path / "s"), against="me")

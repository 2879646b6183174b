"""A sweep's table, its quality and its recommendation, from folders made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sweep_folders import GIB, cell, manifest, only, rated, spec, sweep_json, sweep_of, write_run

from profiler.core.errors import UsageError
from profiler.metrics.quality import TENSORS
from profiler.metrics.sweep import sweep_result
from profiler.metrics.sweep_advice import RELATIVE
from profiler.metrics.sweep_cells import COLUMNS
from profiler.rundir.manifest import Failure, Manifest

PARTS = {"from_steps": [4, 8], "fixed_ms": 1000.0, "step_ms": 100.0, "error_ms": 50.0}


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


def test_an_unknown_table_to_hold_it_against(tmp_path: Path):
    with pytest.raises(UsageError, match="--against me is not known"):
        sweep_result(rated(tmp_path / "s"), against="me")

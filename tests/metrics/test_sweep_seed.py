"""Cells beside the seed's tables: which row, which ratio, and which causes for which difference."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sweep_folders import H100, cell, kept_sweep, manifest, spec, sweep_json, sweep_of, write_run

from profiler.metrics.sweep import sweep_result
from profiler.metrics.sweep_seed import SEED_CSV, seed_rows
from profiler.metrics.sweep_seed_causes import INFERENCE, MODEL, NOTHING, TIME

SHARED_CSV = Path(__file__).resolve().parents[3] / "shared" / "seed" / "benchmarks.csv"


def test_the_packaged_table_is_the_seeds():
    if not SHARED_CSV.is_file():
        pytest.skip("no ../shared/seed beside this checkout")
    assert SEED_CSV.read_bytes() == SHARED_CSV.read_bytes()


def test_every_row_is_read_once():
    rows = seed_rows()
    assert len(rows) == 173
    assert Counter(row["name"] for row in rows) == {"flux-dev": 77, "cogvideox-5b": 62, "cogvideox-2b": 34}
    keys = ("model", "gpu", "batch_size", "compile", "compile_vae", "fuse_qkv", "quantize_vae", "quantization", "sparsify")
    assert len({tuple(row[key] for key in keys) for row in rows}) == 173
    assert sum(row["model_memory_gib"] is None for row in rows) == 4, "its sparse rows have no memory"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return sweep_result(kept_sweep(tmp_path_factory.mktemp("sweep") / "s"), against="seed")


def test_the_kept_runs_beside_the_seed(kept):
    found = kept.against_seed
    rows = found.rows.select("id", "seed_gpu", "same_gpu", "same_layers", "seed_model_memory_gib", "seed_time_s").rows()
    assert rows == [
        ("bf16-none", "H100", True, True, 31.438, 6.573),
        ("bf16-default", "H100", True, True, 31.438, 4.209),
        ("fp8dqrow-regional", "H100", True, True, 20.37, 3.039),
        ("int8dq-regional", "H100", True, True, 20.386, 3.406),
    ]
    times = [5.268216, 3.917666, 2.978223, 4.451807]
    assert found.rows["time_s"].to_list() == pytest.approx(times, abs=1e-6)
    assert found.rows["time_ratio"].to_list() == pytest.approx([0.801493, 0.930783, 0.980001, 1.307049], abs=1e-6)
    assert found.rows["model_memory_ratio"].to_list() == pytest.approx([1.0, 1.0, 1.0, 1.0], abs=0.02)
    assert found.rows["inference_memory_gib"].to_list() == pytest.approx([33.848, 33.848, 32.182, 31.813], abs=1e-3)
    assert found.rows["seed_inference_memory_gib"].to_list() == [33.851, 33.851, 31.82, 31.608]
    assert found.unmatched == {"bf16-none-b64": "steps is 28 in the seed and 2 here"}
    assert (found.measured, found.seed_rows) == (4, 77)


def test_two_cells_of_one_row_are_one_row(tmp_path: Path):
    found = beside(tmp_path, a=manifest(spec("int8dq", "regional")), b=manifest(spec("int8dq", "default")))
    assert found.rows["seed_row"].to_list() == [3, 3]
    assert found.measured == 1


def test_a_row_that_no_cell_has_a_time_of_is_not_counted(tmp_path: Path):
    sweep_of(tmp_path / "s", {"a": manifest(spec())})
    cells = [cell("a", spec()), cell("b", spec("int8dq", "regional"), "failed"), cell("c", FLUX, "queued", run=None)]
    sweep_json(tmp_path / "s", cells)
    found = sweep_result(tmp_path / "s", against="seed").against_seed
    assert found.rows["id"].to_list() == ["a", "b", "c"]
    assert found.measured == 1


def test_what_the_seeds_calls_need_by_its_bf16_row(kept):
    rows = kept.against_seed.rows
    assert rows["seed_call_gib"].to_list() == [None, None, pytest.approx(22.783), pytest.approx(22.799)]
    assert rows["inference_peak_gib"].to_list()[2:] == pytest.approx([22.777, 22.780], abs=1e-3)


def test_the_causes_of_the_kept_runs(kept):
    software = (
        "software: torch 2.11.0, torchao 0.18.0, diffusers 0.42.1 here, nightlies of torch and torchao of 2024 and CUDA 12.2 "
        "in the seed"
    )
    said = {
        name: [(each.quantity, each.measured, each.text) for each in found] for name, found in kept.against_seed.causes.items()
    }
    assert said == {
        "bf16-none": [
            (
                TIME,
                True,
                "compiled (bf16-default) it is at 0.93 of the seed's time: what is left of the difference, 0.86, lies in what "
                "compiling removes: kernels between the GEMMs, and launches",
            ),
            (TIME, False, software),
        ],
        "int8dq-regional": [
            (TIME, True, "bf16-default is at 0.93 of the seed's time: this difference is the scheme's own"),
            (TIME, True, "GEMMs run on Ampere kernels on this Hopper GPU: 81.4 ms of a step's 149.9"),
            (TIME, False, "the seed compiled the whole transformer with max-autotune, this cell is --compile regional"),
            (TIME, False, "of 504 Linears 86 int8wo here; the seed gave int8dq to all"),
            (TIME, False, software),
        ],
    }


def beside(tmp_path: Path, **cells):
    """The comparison of cells: name -> manifest."""
    return sweep_result(sweep_of(tmp_path / "s", cells), against="seed").against_seed


def texts(found, name: str, quantity: str) -> list[str]:
    return [each.text for each in found.causes.get(name, []) if each.quantity == quantity]


FLUX = spec("int8wo", "regional")
VIDEO = {"model": "cogvideox-5b", "steps": 50, "height": 480, "width": 720, "frames": 49}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (spec(model="flux-schnell"), "the seed did not measure flux-schnell"),
        (spec(steps=4), "steps is 28 in the seed and 4 here"),
        (spec(height=512), "height is 1024 in the seed and 512 here"),
        (spec("bf16", **VIDEO | {"frames": 9}), "frames is 49 in the seed and 9 here"),
        (spec("fp8-sparse", "regional"), "the seed has no row of these options"),
        (
            spec("int8wo", batch=2),
            "the seed measured these options at batch 1, 4, 8 alone: model memory 20.385 GiB there, here 20.000",
        ),
        (
            spec("fp6_e3m2", "regional"),
            "the seed measured these options at batch 16 alone: model memory 17.598 GiB there, here 20.000",
        ),
        (spec("int8wo", "regional", quantize_vae=True), "the seed has no row of these options"),
        (spec() | {"scheme": None}, "its run does not say which scheme it is, or whether it is compiled"),
        (spec() | {"compile": None}, "its run does not say which scheme it is, or whether it is compiled"),
    ],
)
def test_what_the_seed_has_no_row_of(tmp_path: Path, asked, why: str):
    found = beside(tmp_path, a=manifest(asked))
    assert found.unmatched == {"a": why}
    assert found.rows.is_empty()


@pytest.mark.parametrize(
    ("asked", "gpu", "seconds"),
    [
        (spec(), "H100", 6.573),
        (spec("sparsify", "regional", batch=16), "H100", 51.941),
        (spec("bf16", "default", fuse_qkv=True, **VIDEO), "H100", 87.455),
        (spec("bf16", "default", **VIDEO), "A100", 212.022),
        (spec("fp8dq", "default", fuse_qkv=True, **VIDEO), "H100", 75.255),
        (spec("fp6_e3m2", **VIDEO), "A100", 287.842),
        (spec("sparsify", **VIDEO), "A100", 308.767),
        (spec("fp6_e3m2", "default", **VIDEO | {"model": "cogvideox-2b"}), "A100", 72.261),
        (spec("plans/best.json", "default", **VIDEO), "A100", 176.794),
    ],
)
def test_which_row_of_the_seed_a_cell_is_held_against(tmp_path: Path, asked, gpu: str, seconds: float):
    (row,) = beside(tmp_path, a=manifest(asked)).rows.iter_rows(named=True)
    assert (row["seed_gpu"], row["seed_time_s"], row["same_gpu"]) == (gpu, seconds, gpu == "H100")


def test_within_the_thresholds_nothing_is_explained(tmp_path: Path):
    found = beside(tmp_path, a=manifest(FLUX, (4.615 * 1.09,), (20.384 * 1.019, 31.606 * 1.09, 22.0)))
    assert found.causes == {}
    assert set(beside(tmp_path / "more", a=manifest(FLUX, (4.615 * 1.11,), (20.384 * 0.97, 31.606 * 1.11, 22.0))).causes) == {"a"}


def test_linears_left_in_bf16_are_counted_in_gib(tmp_path: Path):
    left = {"int8wo": 400, "left": 104}
    # 104 weights of 3072 x 3072: one byte each more, less a scale of 4 bytes and a zero point a row.
    more = 104 * (3072 * 3072 - 3072 * 5) / 2**30
    found = beside(tmp_path, a=manifest(FLUX, (4.6,), (20.384 + more, 31.6, 22.0), left))
    assert found.rows["same_layers"].to_list() == [False]
    assert texts(found, "a", MODEL) == ["104 Linears stay in bf16 here and not in the seed (why): +0.91 GiB"]
    further = beside(tmp_path / "more", a=manifest(FLUX, (4.6,), (23.0, 31.6, 22.0), left))
    assert texts(further, "a", MODEL)[1] == "+1.70 GiB of +2.62 are not explained by that"


def test_a_text_encoder_that_only_the_seed_quantized(tmp_path: Path):
    asked = spec("int8wo", "default", fuse_qkv=True, **VIDEO)
    stored = {"text_encoder/weight/bfloat16": 8 << 30}
    found = beside(tmp_path, a=manifest(asked, (87.0,), (15.4, 16.0, 27.0), weight_bytes=stored))
    assert found.rows["same_layers"].to_list() == [False]
    (text,) = texts(found, "a", MODEL)
    assert text == "the seed quantized text_encoder too, here it stays in bf16: +4.00 GiB"
    both = beside(tmp_path / "both", a=manifest(asked | {"quantize_text_encoder": True}, (87.0,), (11.4, 16.0, 23.4)))
    assert (both.rows["same_layers"].to_list(), both.causes) == ([True], {})


def test_peaks_of_loading_are_told_from_peaks_of_calls(tmp_path: Path):
    found = beside(tmp_path, a=manifest(FLUX | {"quantize_on": "per-layer"}, (4.6,), (20.384, 21.0, 22.8)))
    said = texts(found, "a", INFERENCE)
    assert said[0].startswith("the seed's is the peak of loading and quantizing (31.61 GiB); ")
    assert said[0].endswith("; its call needs about 22.80 GiB, ours 22.80 GiB")
    assert "--quantize-on per-layer keeps the peak of quantizing low here" in said
    ours = beside(tmp_path / "ours", a=manifest(spec("bf16"), (6.5,), (31.438, 40.0, 33.85)))
    assert texts(ours, "a", INFERENCE)[0] == (
        "ours is the peak of loading and quantizing (40.00 GiB); the call alone peaks at 33.85 GiB"
    )
    made = manifest(spec("bf16"), (6.5,), (31.438, 31.5, 33.85))
    made.phases[2].peak_bytes = 40 << 30
    warming = "ours is reached while compiling (warm-up); the call alone peaks at 33.85 GiB"
    assert texts(beside(tmp_path / "warm", a=made), "a", INFERENCE)[0] == warming
    calls = beside(tmp_path / "calls", a=manifest(spec("bf16"), (6.5,), (31.438, 31.5, 38.438)))
    assert texts(calls, "a", INFERENCE)[0] == "beside the weights a call takes 7.00 GiB here and 2.41 GiB in the seed"
    assert not any("warm-up" in text for text in texts(calls, "a", INFERENCE)), "the first call needs what later ones do"


def test_eager_quantization_of_activations(tmp_path: Path):
    runs = {"a": manifest(spec("int8dq"), (20.0,), linears={"int8dq": 400}), "b": manifest(spec("int8dq", "regional"), (3.5,))}
    assert texts(beside(tmp_path, **runs), "a", TIME)[0] == (
        "eager, the seed quantized activations in kernels of their own: 127.1 s more than its compiled row, 11.35 ms for each "
        "of 400 Linears a step; here 16.5 s more than b"
    )


@pytest.mark.parametrize("other", [{"height": 512}, {"steps": 14}])
def test_a_cell_of_other_work_explains_nothing(tmp_path: Path, other: dict[str, int]):
    runs = {"a": manifest(FLUX, (4.615 * 2,)), "b": manifest(spec(compile="regional", **other), (4.209 * 2,))}
    found = beside(tmp_path, **runs)
    assert set(found.unmatched) == {"b"}
    assert texts(found, "a", TIME)[0] == NOTHING


def test_where_bf16_differs_as_much_it_is_not_the_scheme(tmp_path: Path):
    runs = {"a": manifest(FLUX, (4.615 * 2,)), "b": manifest(spec(compile="regional"), (4.209 * 2.1,))}
    assert texts(beside(tmp_path, **runs), "a", TIME)[0] == (
        "b is at 2.10 of the seed's time too: not the scheme, but the machine and its software"
    )


def test_bf16_that_differs_less_leaves_the_rest_to_the_scheme(tmp_path: Path):
    part = {"a": manifest(FLUX, (4.615 * 2,)), "b": manifest(spec(compile="regional"), (4.209 * 1.3,))}
    assert texts(beside(tmp_path, **part), "a", TIME)[0] == (
        "b is at 1.30 of the seed's time: so much is the machine's and its software's, and what is left, 1.54, the scheme's own"
    )
    near = {"a": manifest(FLUX, (4.615 * 0.87,)), "b": manifest(spec(compile="regional"), (4.209 * 0.93,))}
    assert texts(beside(tmp_path / "near", **near), "a", TIME)[0] == (
        "b is at 0.93 of the seed's time: so much is the machine's and its software's, and what is left, 0.94, the scheme's own"
    )
    none = {"a": manifest(FLUX, (4.615 * 0.87,)), "b": manifest(spec(compile="regional"), (4.209 * 0.98,))}
    assert texts(beside(tmp_path / "none", **none), "a", TIME)[0] == (
        "b is at 0.98 of the seed's time: this difference is the scheme's own"
    )


def test_tuned_kernels_are_named(tmp_path: Path):
    notes = {"tuned_tables": ["h100.json"], "notes": ["418 of 418 int8dq Linears run tuned kernels", "other"]}
    made = manifest(spec("int8dq", "regional"), (2.967,), (20.386, 31.6, 22.8), **notes)
    alone = beside(tmp_path, a=made)
    tuned = "kernels tuned for this GPU: 418 of 418 int8dq Linears run tuned kernels"
    assert texts(alone, "a", TIME)[:2] == [NOTHING, tuned]
    assert alone.causes["a"][1].measured is False, "no cell says what they are worth"
    plain = manifest(spec("int8dq", "regional"), (4.452,), (20.386, 31.6, 22.8))
    found = beside(tmp_path / "both", a=made, b=plain)
    assert texts(found, "a", TIME)[0].endswith("run tuned kernels; without them (b) 4.452 s")
    assert found.causes["a"][0].measured is True


def test_projections_that_were_fused_away_are_no_cause(tmp_path: Path):
    made = manifest(FLUX | {"fuse_qkv": True}, (5.5,), linears={"int8wo": 300, "fp8wo": 20, "int8dq": 80})
    for linear in made.applied["linears"]:
        linear["rows"] = None if linear["scheme"] == "int8dq" else 4096
    said = texts(beside(tmp_path, a=made), "a", TIME)
    assert "of 320 Linears that a call runs 20 fp8wo here; the seed gave int8wo to all" in said


def test_another_gpu_offloads_and_graph_breaks_are_said(tmp_path: Path):
    asked = spec("bf16", "default", offload="model", vae_tiling=True, **VIDEO)
    made = manifest(asked, (100.0,), graph_breaks=3)
    said = texts(beside(tmp_path, a=made), "a", TIME)
    assert said[0] == f"the seed measured on an A100, this is {H100['name']}"
    assert {"--offload model here", "3 graph breaks here", "--vae-tiling here"} <= set(said)


def test_an_extrapolated_time_says_so(tmp_path: Path):
    parts = {"from_steps": [4, 8], "fixed_ms": 1000.0, "step_ms": 200.0, "error_ms": 132.0}
    write_run(tmp_path / "s" / "a", manifest(spec("bf16", steps=8), (2.6,), (31.438, 31.5, 33.85)))
    sweep_json(tmp_path / "s", [cell("a", spec("bf16", steps=8), extrapolated=parts)])
    found = sweep_result(tmp_path / "s", against="seed").against_seed
    assert found.rows.select("extrapolated", "time_s").rows() == [(True, pytest.approx(6.6))]
    assert found.causes == {}
    sweep_json(tmp_path / "s", [cell("a", spec("bf16", steps=8), extrapolated=parts | {"step_ms": 300.0})])
    slow = sweep_result(tmp_path / "s", against="seed").against_seed
    text = "ours is extrapolated from calls of 4 and 8 steps, give or take {}"
    assert texts(slow, "a", TIME)[0] == NOTHING
    assert text.format("0.13 s (1.4%)") not in texts(slow, "a", TIME), "far less than they differ by"
    sweep_json(tmp_path / "s", [cell("a", spec("bf16", steps=8), extrapolated=parts | {"step_ms": 300.0, "error_ms": 3000.0})])
    rough = sweep_result(tmp_path / "s", against="seed").against_seed
    assert texts(rough, "a", TIME)[0] == text.format("3.00 s (31.9%)")
    assert NOTHING not in texts(rough, "a", TIME)


def test_what_nothing_explains_is_said_to_be_so(tmp_path: Path):
    made = manifest(spec(), (60.0,), (31.438, 31.5, 33.85))
    made.environment = {"device": "cuda", "gpu": H100}
    found = beside(tmp_path, a=made)
    assert texts(found, "a", TIME) == [NOTHING]

"""A plan's predictions beside the cells of a sweep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sweep_folders import GIB, H100, kept_sweep, manifest, spec, sweep_of

from profiler.core.errors import UnreadableInput
from profiler.metrics.sweep import sweep_result
from profiler.metrics.sweep_plan import THIS_PLAN
from profiler.report.sweep import result_data
from profiler.report.sweep_files import sweep_markdown
from profiler.report.sweep_text import sweep_text

STEP = {"bf16": 130_000.0, "fp8dqrow": 100_000.0, "int8dq": 120_000.0}
LINEARS = {"bf16": 86_000.0, "fp8dqrow": 50_000.0, "int8dq": 70_000.0}


def plan_file(path: Path, **more) -> Path:
    """A plan from a recording, as `diffuscope plan` writes it."""
    singles = {
        name: {
            "us": us,
            "model_bytes": 20 * GIB,
            "sqnr_db": None if name == "bf16" else 18.0,
            "fits": True,
            "step_us": STEP[name],
        }
        for name, us in LINEARS.items()
    }
    made = {
        "schema": 1,
        "kind": "plan",
        "model": "flux-dev",
        "spec": spec(compile="regional"),
        "layers": {"transformer.x": "int8wo"},
    }
    made |= {
        "predicted": singles["int8dq"] | {"us": 60_000.0},
        "singles": singles,
        "source": {"run": "traces/flux-dev-bf16-compiled"},
    }
    path.write_text(json.dumps(made | more))
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = kept_sweep(tmp_path_factory.mktemp("sweep") / "s")
    plan_file(folder / "plan.json")
    return sweep_result(folder)


def test_the_kept_runs_beside_a_plan_in_their_folder(kept):
    found = kept.plan
    assert found.source == "traces/flux-dev-bf16-compiled"
    assert found.left_out == {
        "bf16-none": "the plan is for --compile regional, this is none",
        "bf16-none-b64": "it ended oom",
    }
    columns = ("id", "predicted_as", "predicted_linears_ms", "measured_linears_ms", "predicted_step_ms", "measured_step_ms")
    assert found.rows.select(columns).rows() == [
        ("bf16-default", "bf16", 86.0, pytest.approx(86.093, abs=1e-3), 130.0, pytest.approx(130.526, abs=1e-3)),
        ("fp8dqrow-regional", "fp8dqrow", 50.0, pytest.approx(46.221, abs=1e-3), 100.0, pytest.approx(101.173, abs=1e-3)),
        ("int8dq-regional", "int8dq", 70.0, pytest.approx(90.408, abs=1e-3), 120.0, pytest.approx(149.884, abs=1e-3)),
    ]
    assert found.rows["step_error"].to_list() == pytest.approx([-0.0040, -0.0116, -0.1994], abs=1e-4)
    assert found.rows["model_memory_error"].to_list()[1] == pytest.approx(20 / 20.363387 - 1, abs=1e-6)
    # Not each kept run has its outputs.
    assert found.rows["measured_sqnr_db"].to_list()[1] == pytest.approx(19.149, abs=1e-3)
    assert found.same_order == (2, 3), "int8dq was predicted to be faster than bf16, and is slower"


def test_it_is_shown_in_every_form(kept):
    data = result_data(kept)
    json.dumps(data, allow_nan=False)
    assert (data["plan"]["same_order"], data["plan"]["rows"][0]["measured_sqnr_db"]) == ([2, 3], None)
    for width in (80, 100):
        text = sweep_text(data, width)
        assert max(map(len, text.splitlines())) <= width
        plain = " ".join(text.partition("predicted by")[2].split())
        assert "50.0 > 46.2 +8% 100.0 > 101.2 -1% -1.78% 18.0 > 19.1" in plain
        assert "order: 2 of 3 pairs of cells that differ by more than 5 % are in the predicted order" in plain
    assert "| int8dq-regional | 70.0 > 90.4 | -23% | 120.0 > 149.9 | -20% | -1.80% | 18.0 > " in sweep_markdown(data)


PARTED = {
    # As measured: 45.6, 25.1, 27.7 and 2.8 ms.
    "fp8dqrow": (100e3, 95e3, 110e3, {"products": 46e3, "attention": 25e3, "elementwise": 17e3, "quantizing": 9e3, "idle": 3e3}),
    # 83.4, 22.8, 41.1 and 2.5 ms: without tuned kernels.
    "int8dq": (100e3, 95e3, 110e3, {"products": 46e3, "attention": 25e3, "elementwise": 18e3, "quantizing": 7e3, "idle": 4e3}),
    "int8dq --tuned off": (
        120e3,
        110e3,
        130e3,
        {"products": 56e3, "attention": 20e3, "elementwise": 18e3, "quantizing": 22e3, "idle": 4e3},
    ),
}


@pytest.fixture(scope="module")
def parted(tmp_path_factory):
    """The kept runs beside a plan that says of what a step is summed."""
    folder = kept_sweep(tmp_path_factory.mktemp("parted") / "s")
    known = {"4608x15360x3072": (12e3, 38), "512x3072x3072": (500.0, 76), "7x7x7": (1.0, 1)}
    shapes = {name: {"us": us, "calls": calls} for name, (us, calls) in known.items()}
    singles = {
        name: {"us": 1.0, "model_bytes": 20 * GIB, "step_us": us, "step_low_us": low, "step_high_us": high, "parts_us": parts}
        | {"shapes": shapes}
        for name, (us, low, high, parts) in PARTED.items()
    }
    return sweep_result(folder, plan=plan_file(folder / "plan.json", singles=singles))


def test_a_step_is_compared_part_by_part(parted):
    rows = {row["id"]: row for row in parted.plan.rows.iter_rows(named=True)}
    assert set(parted.plan.left_out) == {"bf16-none", "bf16-none-b64", "bf16-default"}
    fp8, int8 = rows["fp8dqrow-regional"], rows["int8dq-regional"]
    names = ("products", "attention", "kernels", "idle")
    assert [fp8[f"predicted_{name}_ms"] for name in names] == [46.0, 25.0, 26.0, 3.0]
    assert [fp8[f"measured_{name}_ms"] for name in names] == pytest.approx([45.6, 25.1, 27.7, 2.8], abs=0.06)
    assert sum(fp8[f"measured_{name}_ms"] for name in names) == pytest.approx(fp8["measured_step_ms"])
    # 28 steps in 2978.2 ms, 2 in 358.4.
    assert fp8["timed_step_ms"] == pytest.approx((2978.2 - 358.4) / 26, abs=0.01)
    assert (fp8["predicted_linears_ms"], fp8["measured_linears_ms"]) == (46.0, fp8["measured_products_ms"])
    assert int8["predicted_as"] == "int8dq --tuned off", "its Linears have no tuned kernel"
    assert (parted.plan.within, parted.plan.same_order) == ((1, 2), (1, 1))


def test_products_are_compared_shape_by_shape(parted):
    assert parted.plan.shapes.rows() == [
        ("fp8dqrow-regional", "4608x15360x3072", 38, 12.0, pytest.approx(11.797, abs=1e-3)),
        ("fp8dqrow-regional", "512x3072x3072", 76, 0.5, pytest.approx(1.046, abs=1e-3)),
        ("int8dq-regional", "4608x15360x3072", 38, 12.0, pytest.approx(20.309, abs=1e-3)),
        ("int8dq-regional", "512x3072x3072", 76, 0.5, pytest.approx(1.630, abs=1e-3)),
    ]
    text = " ".join(sweep_text(result_data(parted), 100).split())
    assert "products by shape: 1 of 4 are within 10%; most is missed at 38 of 4608x15360x3072 in int8dq-regional" in text


def test_what_is_far_off_is_explained(parted):
    data = result_data(parted)
    assert len(data["plan"]["shapes"]) == 4
    for width in (80, 100):
        text = sweep_text(data, width)
        assert max(map(len, text.splitlines())) <= width
        plain = " ".join(text.partition("predicted by")[2].split())
        assert "46.0 > 45.6 25.0 > 25.1 26.0 > 27.7 3.0 > 2.8" in plain
        assert "range: 1 of 2 steps lie within what was predicted" in plain
        assert "int8dq-regional: 20% too short (predicted 110 to 130 ms): products +27.4 ms" in plain
        assert (
            "products +27.4 ms (+7.9 of it: attention, which no scheme changes, took 14% longer: another clock; the rest: "
            "products were slower or faster than"
        ) in plain
        assert "fp8dqrow-regional: " not in plain, "1 % off, and within its range"
    written = sweep_markdown(data)
    assert "| fp8dqrow-regional | 46.0 > 45.6 | 25.0 > 25.1 | 26.0 > 27.7 | 3.0 > 2.8 |" in written
    assert "- int8dq-regional: 20% too short" in written


def test_a_cell_that_is_the_plan_is_found_by_its_layers(tmp_path: Path):
    made = manifest(spec("my/own.json", "regional"))
    made.applied["linears"] = [{"module": "transformer.x", "scheme": "int8wo", "reason": ""}]
    folder = sweep_of(tmp_path / "s", {"a": made, "b": manifest(spec("fp8wo", "regional"))})
    found = sweep_result(folder, plan=plan_file(tmp_path / "p.json")).plan
    assert found.rows.select("id", "predicted_as", "predicted_linears_ms", "measured_linears_ms").rows() == [
        ("a", THIS_PLAN, 60.0, None)
    ]
    assert found.left_out == {"b": "the plan predicts nothing of fp8wo"}
    data = result_data(sweep_result(folder, plan=tmp_path / "p.json"))
    assert "a (the plan)" in sweep_text(data)
    for said in (sweep_text(data), sweep_markdown(data)):
        assert "not held against it: b: the plan predicts nothing of fp8wo" in said


def test_a_plan_for_other_work_says_nothing(tmp_path: Path):
    folder = sweep_of(tmp_path / "s", {"a": manifest(spec("int8dq", "regional", batch=4))})
    result = sweep_result(folder, plan=plan_file(tmp_path / "p.json"))
    assert result.plan.left_out == {"a": "batch is 1 in the plan and 4 here"}
    assert "it says nothing about these cells: batch is 1 in the plan and 4 here" in sweep_text(result_data(result), 120)
    assert "It says nothing about these cells" in sweep_markdown(result_data(result))


VIDEO = {"model": "cogvideox-5b", "steps": 50, "height": 480, "width": 720, "frames": 49}


@pytest.mark.parametrize(
    ("planned", "asked", "why"),
    [
        (VIDEO | {"guidance": 6.0}, {"guidance": 1.0}, "guidance is 6.0 in the plan and 1.0 here"),
        (VIDEO | {"guidance": 6.0}, {"guidance": 4.0}, ""),
        ({"guidance": 3.5}, {"guidance": 1.0}, ""),
        ({}, {"parallel": {"kind": "ulysses", "degree": 2}}, "the plan is for one rank, this ran on several"),
        ({}, {"offload": "model"}, "the plan is for weights that stay on the device, this is --offload model"),
    ],
)
def test_guidance_doubles_a_videos_rows_and_an_offload_is_not_planned(tmp_path: Path, planned: dict, asked: dict, why: str):
    folder = sweep_of(tmp_path / "s", {"a": manifest(spec("int8dq", "regional", **planned | asked))})
    path = plan_file(tmp_path / "p.json", spec=spec(compile="regional", **planned))
    assert sweep_result(folder, plan=path).plan.left_out == ({"a": why} if why else {})


def test_a_part_that_is_quantized_beside_the_transformer_is_no_error_of_the_plan(tmp_path: Path):
    runs = {name: manifest(spec("int8dq", "regional", quantize_text_encoder=also)) for name, also in (("a", False), ("b", True))}
    found = sweep_result(sweep_of(tmp_path / "s", runs), plan=plan_file(tmp_path / "p.json")).plan
    assert found.rows.select("id", "measured_model_memory_gib", "model_memory_error").rows() == [
        ("a", 20.0, 0.0),
        ("b", None, None),
    ]


def test_a_plan_for_another_gpu_says_nothing(tmp_path: Path):
    folder = sweep_of(tmp_path / "s", {"a": manifest(spec("int8dq", "regional"))})
    plans = {name: plan_file(tmp_path / f"{name[-4:]}.json", device={"name": name}) for name in ("NVIDIA H200", H100["name"])}
    assert sweep_result(folder, plan=plans["NVIDIA H200"]).plan.left_out == {
        "a": "the plan is for one NVIDIA H200, this ran on NVIDIA H100 80GB HBM3"
    }
    assert sweep_result(folder, plan=plans[H100["name"]]).plan.left_out == {}


def test_without_a_plan_there_is_no_table(tmp_path: Path):
    result = sweep_result(sweep_of(tmp_path / "s", {"a": manifest(spec())}))
    assert (result.plan, result_data(result)["plan"]) == (None, None)


LAYERS = {"transformer.x": "int8wo"}
BROKEN = {
    "no JSON": ("{", "is not JSON"),
    "no plan": ('{"kind": "sweep"}', "is no plan"),
    "by hand": (json.dumps({"schema": 1, "kind": "plan", "layers": LAYERS}), "predicts nothing"),
    "torchao's": (json.dumps({"_type": "FqnToConfig", "_data": {"fqn_to_config": LAYERS}}), "predicts nothing"),
    "later": (json.dumps({"schema": 2, "kind": "plan", "layers": LAYERS}), "has schema 2"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_predicts_nothing_is_one_error(tmp_path: Path, name: str):
    text, message = BROKEN[name]
    (tmp_path / "p.json").write_text(text)
    folder = sweep_of(tmp_path / "s", {"a": manifest(spec())})
    with pytest.raises(UnreadableInput, match=message):
        sweep_result(folder, plan=tmp_path / "p.json")
    with pytest.raises(UnreadableInput, match="cannot read the plan"):
        sweep_result(folder, plan=tmp_path / "none.json")


def test_a_time_of_text_is_one_error(tmp_path: Path):
    folder = sweep_of(tmp_path / "s", {"a": manifest(spec())})
    broken = plan_file(tmp_path / "p.json", predicted={"us": "fast", "model_bytes": 1})
    with pytest.raises(UnreadableInput, match=r"predicts nothing: .*Expected `float`"):
        sweep_result(folder, plan=broken)

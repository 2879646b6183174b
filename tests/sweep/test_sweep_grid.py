"""Which cells there are, in which order, and which of them cannot be."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from profiler.cli import record as record_cli
from profiler.cli.app import build
from profiler.core.errors import UsageError
from profiler.core.lists import parse_list, parse_numbers
from profiler.core.plan_file import KIND, SCHEMA
from profiler.core.spec import RunSpec
from profiler.sweep.cells import Cell, cell_id, make_cells, named_as_before
from profiler.sweep.commands import record_command
from profiler.sweep.grid import Grid, refuse_steps
from profiler.sweep.order import in_order
from profiler.sweep.presets import PRESETS, SEED_NAMES, find_preset, gpu_here, with_defaults
from profiler.sweep.session import Request, plan_cells

SEED = Path(__file__).resolve().parents[3] / "shared" / "seed" / "benchmarks.csv"


def request(model: str = "flux-tiny", base: dict[str, Any] | None = None, **more: Any) -> Request:
    return Request(base=RunSpec(model=model, **base or {}), out=Path("nowhere"), **more)


def ids(asked: Request) -> list[str]:
    return [each.id for each in plan_cells(asked)[0]]


def test_a_grid_is_every_combination_once():
    cells, steps = plan_cells(
        request(schemes=["bf16", "int8wo"], compile=["none", "regional"], batch=[1, 4], switches=["fuse_qkv", "compile_vae"])
    )
    assert len(cells) == 2 * 2 * 2 * 2 * 2
    assert len({each.spec for each in cells}) == len({each.id for each in cells}) == len(cells)
    assert steps == 4
    assert all((each.spec.height, each.spec.width, each.spec.steps) == (128, 128, 4) for each in cells), "resolved"
    refused = {each.id for each in cells if each.status == "refused"}
    assert refused == {each.id for each in cells if each.spec.compile == "none" and each.spec.compile_vae}
    assert {each.reason for each in cells if each.id in refused} == {"--compile-vae was asked with --compile none"}


def test_ids_say_what_differs_and_never_collide():
    spec = RunSpec(model="flux-dev", scheme="fp8dqrow", compile="regional", fuse_qkv=True, compile_vae=True, batch=4)
    assert cell_id(spec) == "fp8dqrow-regional-qkv-cvae-b4"
    assert cell_id(RunSpec(model="m", scheme="plans/my plan.json", offload="model")) == "my_plan-none-model"
    cells = make_cells([RunSpec(model="m"), RunSpec(model="m", seed=1), RunSpec(model="m")])
    assert [each.id for each in cells] == ["bf16-none", "bf16-none-2"]


def test_the_most_useful_cells_come_first():
    asked = request(schemes=["int8wo", "int8dq", "bf16"], compile=["none", "regional"], batch=[4, 1], switches=["fuse_qkv"])
    found = ids(asked)
    assert found[:4] == ["bf16-regional", "bf16-none", "int8wo-regional", "int8dq-regional"]
    assert found[4:7] == ["int8wo-regional-qkv", "int8dq-regional-qkv", "bf16-regional-qkv"]
    assert set(found[:12]) == {each for each in found if not each.endswith("-b4")}
    assert found[12] == "int8wo-regional-b4"
    assert found[-2:] == ["int8wo-none-qkv-b4", "int8dq-none-qkv-b4"], "eager runs of quantized schemes say least"


def test_without_compiling_eager_is_the_best_mode():
    found = in_order(make_cells(Grid(schemes=("int8wo", "bf16"), switches=("fuse_qkv",)).specs(RunSpec(model="m"))))
    assert [each.id for each in found] == ["bf16-none", "int8wo-none", "int8wo-none-qkv", "bf16-none-qkv"]


@pytest.mark.parametrize(("capabilities", "gpu", "first"), [([(9, 0)], "H100", 16), ([], "H100", 16), ([(8, 0)] * 2, "A100", 42)])
def test_the_rows_that_the_seed_has_from_this_kind_of_gpu_come_first(
    monkeypatch: pytest.MonkeyPatch, capabilities: list[tuple[int, int]], gpu: str, first: int
):
    monkeypatch.setattr("profiler.sweep.presets.visible_capabilities", lambda: capabilities)
    monkeypatch.setattr("profiler.sweep.session.gpu_here", gpu_here.__wrapped__)
    cells = plan_cells(request("cogvideox-5b", preset="seed-cogvideox"))[0]
    seed = seed_rows("cogvideox-5b", gpu)
    rows = [(s.scheme, s.compile != "none", s.compile_vae, s.fuse_qkv, s.batch) for s in (each.spec for each in cells)]
    assert len(set(seed)) == first
    assert set(rows[:first]) == set(seed)
    base = "bf16-regional-qkv" if gpu == "H100" else "bf16-regional"
    assert [each.id for each in cells[:2]] == [base, base.replace("regional", "none")]


def seed_rows(model: str, *gpus: str) -> Counter[tuple[Any, ...]]:
    """Rows of the seed's table as (scheme, compiled, VAE compiled, fused, batch)."""
    if not SEED.exists():
        pytest.skip("no ../shared/seed beside this checkout")
    names = {"flux-dev": "FLUX.1-dev", "cogvideox-5b": "CogVideoX-5b", "cogvideox-2b": "CogVideoX-2b"}
    found: Counter[tuple[Any, ...]] = Counter()
    with SEED.open() as file:
        for row in csv.DictReader(file):
            if row["model"] == names[model] and row["gpu"] in gpus:
                scheme = "sparsify" if row["sparsify"] == "True" else SEED_NAMES.get(row["quantization"], row["quantization"])
                flags = (row[name] == "True" for name in ("compile", "compile_vae", "fuse_qkv"))
                found[scheme, *flags, int(row["batch_size"])] += 1
    return found


@pytest.mark.parametrize(
    ("model", "preset", "rows", "cells"),
    [("flux-dev", "seed-flux", 77, 77), ("cogvideox-5b", "seed-cogvideox", 62, 48), ("cogvideox-2b", "seed-cogvideox", 34, 34)],
)
def test_a_preset_is_the_rows_of_the_seed(model: str, preset: str, rows: int, cells: int):
    """Of CogVideoX-5b some rows were measured on both GPUs, and fp6 under two names."""
    seed = seed_rows(model, "H100", "A100")
    assert seed.total() == rows
    specs = find_preset(preset).specs(RunSpec(model=model), ())
    found = Counter((each.scheme, each.compile != "none", each.compile_vae, each.fuse_qkv, each.batch) for each in specs)
    assert found == Counter(dict.fromkeys(seed, 1))
    assert len(specs) == cells
    assert {each.compile for each in specs} == {"none", "regional"}


def test_the_seed_quantized_the_text_encoder_of_its_videos_alone():
    specs = find_preset("seed-cogvideox").specs(RunSpec(model="cogvideox-5b"), ("default",))
    assert {each.scheme for each in specs if not each.quantize_text_encoder} == {"bf16", "fp16", "autoquant"}
    assert {each.compile for each in specs} == {"none", "default"}
    assert not any(each.quantize_text_encoder for each in find_preset("seed-flux").specs(RunSpec(model="flux-dev"), ()))


def test_lists_choose_among_the_rows_of_a_preset():
    found = ids(request("flux-dev", preset="seed-flux", schemes=["bf16", "fp8dqrow"], batch=[1]))
    assert found == [
        "bf16-regional",
        "bf16-none",
        "fp8dqrow-regional",
        "fp8dqrow-regional-qkv",
        "fp8dqrow-regional-cvae",
        "fp8dqrow-regional-qkv-cvae",
    ]
    with pytest.raises(UsageError, match="the seed has no rows of flux-tiny"):
        plan_cells(request(preset="seed-cogvideox"))


SEED_FLUX = ("flux-dev", "seed-flux")
IN_VAIN = {
    "a slip": (SEED_FLUX, {"schemes": ["bf16", "int8qd"]}, "no scheme is called 'int8qd'"),
    "no such row": (SEED_FLUX, {"schemes": ["bf16", "int4wo"]}, "no row of --preset seed-flux has --schemes int4wo"),
    "no such batch": (SEED_FLUX, {"batch": [1, 3]}, "has --batch 3 and what else was asked for\n  there are: 1, 4, 8, 16"),
    "not of this batch": (SEED_FLUX, {"schemes": ["bf16", "fp6_e3m2"], "batch": [1]}, "has --schemes fp6_e3m2"),
    "not eager": (SEED_FLUX, {"schemes": ["fp8dqrow"], "compile": ["none"]}, "has --schemes fp8dqrow"),
    "eager alone": (SEED_FLUX, {"schemes": ["bf16"], "batch": [16], "compile": ["default"]}, "has --compile default"),
    "fused": (SEED_FLUX, {"switches": ["fuse_qkv"]}, "--fuse-qkv tries each cell without it and with it"),
    "VAE": (SEED_FLUX, {"schemes": ["bf16"], "switches": ["compile_vae"]}, "--compile-vae tries"),
    "T5": (("cogvideox-5b", "seed-cogvideox"), {"switches": ["quantize_text_encoder"]}, "--quantize-text-encoder tries"),
    "quick": (("flux-tiny", "quick"), {"schemes": ["fp8wo"]}, "--preset quick has --schemes fp8wo"),
    "quick, VAE": (("flux-tiny", "quick"), {"switches": ["compile_vae"]}, "--compile-vae tries"),
}


@pytest.mark.parametrize("case", IN_VAIN)
def test_what_no_row_of_a_preset_has_is_wrong_usage(case: str):
    """Nothing that is asked for is dropped without a word."""
    (model, preset), asked, message = IN_VAIN[case]
    with pytest.raises(UsageError, match=re.escape(message)):
        plan_cells(request(model, preset=preset, **asked))


def test_what_rows_of_a_preset_have_is_had():
    eager = plan_cells(request("flux-dev", preset="seed-flux", compile=["none"]))[0]
    assert (len(eager), {each.spec.compile for each in eager}) == (28, {"none"})
    both = ids(request("flux-dev", preset="seed-flux", schemes=["int8dq"], batch=[1], compile=["none", "default"]))
    assert both == ["int8dq-default", "int8dq-default-qkv", "int8dq-none", "int8dq-none-qkv"]
    # There already: each of these rows is tried without it and with it.
    asked = request("flux-dev", preset="seed-flux", schemes=["fp8dqrow"], batch=[1], switches=["fuse_qkv", "compile_vae"])
    assert len(plan_cells(asked)[0]) == 4
    given = {"model": "flux-tiny", "trace_steps": 3, "warmup": 2, "steps": None}
    (cell, *_) = plan_cells(Request(base=RunSpec(**with_defaults("quick", given)), out=Path("nowhere"), preset="quick"))[0]
    assert (cell.spec.trace_steps, cell.spec.warmup, cell.spec.steps, cell.spec.height) == (3, 2, 2, 64)
    given = {"model": "flux-tiny", "steps": 8, "phases": "timed,traced"}
    (cell, *_), steps = plan_cells(
        Request(base=RunSpec(**with_defaults("quick", given)), out=Path("nowhere"), preset="quick", from_steps=[2, 4])
    )
    assert ((cell.spec.trace_steps, cell.spec.steps), steps) == ((2, 4), 8)


def test_a_plan_among_rows_without_autoquant_is_wrong_usage(tmp_path: Path):
    plan = tmp_path / "mine.json"
    plan.write_text(json.dumps({"kind": KIND, "schema": SCHEMA, "layers": {"transformer.proj_out": "int8wo"}}))
    with pytest.raises(UsageError, match="has --schemes ") as caught:
        plan_cells(request("flux-dev", preset="seed-flux", schemes=["bf16", str(plan)]))
    assert caught.value.hint.startswith("a plan stands for rows of autoquant")


def test_a_plan_stands_for_autoquant(tmp_path: Path):
    plan = tmp_path / "budget24.json"
    plan.write_text(json.dumps({"kind": KIND, "schema": SCHEMA, "layers": {"transformer.proj_out": "int8wo"}}))
    asked = request("cogvideox-2b", preset="seed-cogvideox", schemes=[str(plan), "bf16"])
    assert [each for each in ids(asked) if each.startswith("budget24")] == [
        "budget24-regional",
        "budget24-regional-qkv",
        "budget24-none",
        "budget24-none-qkv",
    ]
    (cell, *_) = plan_cells(request("cogvideox-2b", preset="seed-cogvideox", schemes=["autoquant"]))[0]
    assert cell.status == "refused"
    assert "diffuscope plan" in str(cell.reason)


def test_a_scheme_of_the_seed_that_is_gone_is_a_result_and_a_slip_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("profiler.sweep.presets._FLUX", (*PRESETS_ROWS("gone"),))
    (cell,) = plan_cells(request("flux-dev", preset="seed-flux"))[0]
    assert (cell.status, cell.reason) == ("refused", "no scheme is called 'gone'")
    with pytest.raises(UsageError, match="no scheme is called 'int3'"):
        plan_cells(request(schemes=["bf16", "int3"]))


def PRESETS_ROWS(scheme: str) -> list[Any]:
    from profiler.sweep.presets import _Rows

    return [_Rows(scheme, compiled=(True,), fuse_qkv=(False,))]


def test_quick_is_six_small_cells():
    small = with_defaults("quick", {})
    cells, steps = plan_cells(request(base=small, preset="quick"))
    assert (len(cells), steps) == (6, 2)
    assert {(each.spec.compile, each.spec.height, each.spec.steps) for each in cells} == {("none", 64, 2)}
    assert {(each.spec.trace_steps, each.spec.warmup) for each in cells} == {(1, 0)}
    assert len(plan_cells(request(base=small, preset="quick", compile=["none", "regional"]))[0]) == 12
    assert set(PRESETS) == {"seed-flux", "seed-cogvideox", "quick"}


def test_few_steps_stand_for_many():
    cells, steps = plan_cells(request("cogvideox-5b", schemes=["bf16"], from_steps=[4, 8]))
    assert steps == 50
    assert [(each.spec.trace_steps, each.spec.steps) for each in cells] == [(4, 8)]
    assert plan_cells(request("flux-dev", {"steps": 40}, from_steps=[4, 8]))[1] == 40
    with pytest.raises(UsageError, match="at least two calls"):
        plan_cells(request("flux-dev", {"repeats": 1}, from_steps=[4, 8]))
    with pytest.raises(UsageError, match="the phases timed and traced"):
        plan_cells(request("flux-dev", {"phases": "timed"}, from_steps=[4, 8]))


@pytest.mark.parametrize(
    ("steps", "sources", "message"),
    [(28, [8], "takes two"), (28, [8, 4], "takes two"), (28, [4, 4], "takes two"), (6, [4, 8], "8 steps, more than the 6")],
)
def test_step_counts_that_cannot_be_meant(steps: int, sources: list[int], message: str):
    with pytest.raises(UsageError, match=message):
        refuse_steps(steps, sources)


def test_lists():
    assert parse_list("--schemes", "bf16, int8wo,bf16") == ["bf16", "int8wo"]
    assert parse_numbers("--batch", "1,4,1") == [1, 4]
    for text in ("1,,4", "", "0", "-1", "many", "1.5"):
        with pytest.raises(UsageError, match="--batch"):
            parse_numbers("--batch", text)


@pytest.mark.parametrize(
    "spec",
    [
        RunSpec(model="flux-tiny"),
        RunSpec(model="flux-tiny", scheme="int8wo", compile="regional", compile_vae=True, fuse_qkv=True, batch=4, seed=-1),
        RunSpec(model="cogvideox-tiny", height=64, width=128, frames=9, guidance=2.5, prompt="a 'quoted' cat", phases="timed"),
    ],
)
def test_a_cell_says_how_to_record_it_by_itself(spec: RunSpec, monkeypatch: pytest.MonkeyPatch):
    seen: list[RunSpec] = []
    monkeypatch.setattr(record_cli, "record", lambda spec, _run, _json: seen.append(spec) or 0)
    words = shlex.split(record_command(spec))
    assert words[0] == "diffuscope"
    build()(args=[*words[1:], "-o", f"{os.getpid()}-nowhere"], standalone_mode=False)
    assert seen == [spec]


def test_a_row_survives_its_file():
    cell = Cell(id="a", spec=RunSpec(model="m", batch=3), status="ok", run="a", attempts=2, cache={"fx_hits": 1})
    raw = cell.to_dict()
    assert raw["hash"] == cell.spec.hash
    assert Cell.from_dict(raw | {"later": 1}) == cell


def test_of_two_cells_of_one_spec_the_one_with_a_result_is_taken_over():
    spec = RunSpec(model="flux-tiny")
    before = [Cell(id="bf16-none", spec=spec, status="queued"), Cell(id="bf16-none-2", spec=spec, status="ok")]
    for each in (before, before[::-1]):
        assert [cell.id for cell in named_as_before(make_cells([spec]), each)] == ["bf16-none-2"]

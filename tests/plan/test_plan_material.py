"""What planning gathers on a CPU, and how right the model made of it is: bytes to the byte, SQNR to some dB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from processes import ROOT

from profiler.core.errors import Refused, UsageError
from profiler.core.spec import RunSpec
from profiler.kernels.candidate import Shape
from profiler.kernels.tuned import Entry, save_merged, table_of
from profiler.metrics.plan import PlanResult, choose, fqn_to_config
from profiler.models.base import MODELS
from profiler.plan import contestant, session
from profiler.plan.gains import _ADDED, _adding, measure_gains, transformer_call
from profiler.plan.layers import find_layers, kind_of
from profiler.plan.measure import Case, Cost
from profiler.plan.session import Request, gather
from profiler.recording.tuned import apply_tuned, current_key
from profiler.recording.weights import components, flatten
from profiler.schemes.apply import quantize
from profiler.schemes.base import SCHEMES, Hardware, LinearPlan
from profiler.tune import whole_step

H100 = Hardware("cuda", (9, 0), "H100")
SCHEMES_USED = ["int8wo", "int8dq", "fp8wo"]
SPEC = RunSpec(model="flux-tiny", device="cpu", compile="auto")


@cache
def material() -> dict[str, Any]:
    return gather(Request(spec=SPEC, schemes=SCHEMES_USED))


def transformer(spec: RunSpec) -> tuple[Any, Callable[[], Any]]:
    made = transformer_call(spec, "cpu")
    assert made is not None
    return made


def layer(name: str, found: dict[str, Any] | None = None) -> dict[str, Any]:
    (one,) = (each for each in (found or material())["layers"] if each["module"] == name)
    return one


def test_layers_know_their_shape_their_calls_and_what_they_may_get():
    found = material()
    assert len(found["layers"]) == 50
    one = layer("transformer.transformer_blocks.1.norm1.linear")
    assert (one["rows"], one["in_features"], one["out_features"], one["calls"]) == (1, 64, 384, 1)
    # int8dq would give it int8wo, for its one row.
    assert one["choices"] == ["left", "int8wo", "fp8wo"]
    assert one["kind"] == "transformer.transformer_blocks.*.norm1.linear"
    assert layer("transformer.x_embedder")["choices"] == ["left", "int8wo", "int8dq", "fp8wo"]
    assert found["spec"]["compile"] == "none"
    assert found["configs"]["int8wo"]["_type"] == "Int8WeightOnlyConfig"


def test_int8dq_is_measured_with_the_kernels_that_a_recording_takes_near_ones_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cpu = Hardware("cpu")
    monkeypatch.setenv("DIFFUSCOPE_TUNED", str(tmp_path / "own.json"))
    # Of three times the rows that calls of this size have at most.
    save_merged(tmp_path / "own.json", table_of(current_key(cpu), {Shape(384, 64, 64): Entry(kernel="cpu:u8s8", us=1.0)}))
    given: list[dict[Shape, Entry]] = []

    class Noting(session.Bench):
        def __init__(self, device: str, entries: dict[Shape, Entry], seed: int) -> None:
            given.append(entries)

        def measure(self, case: Case) -> Cost:
            return Cost(1.0, None)

    monkeypatch.setattr(session, "Bench", Noting)
    monkeypatch.setattr(session, "_gains", lambda *_: {})
    for tuned in ("auto", str(tmp_path / "own.json"), "off"):
        session._measured(find_layers(replace(SPEC, compile="none", tuned=tuned), [SCHEMES.get("int8dq")]), cpu)
    module, _ = transformer(SPEC)
    one = "transformer.single_transformer_blocks.0.attn.to_q"
    plans = [LinearPlan(one, 64, 64, 128, "int8dq")]
    quantize(module, plans, prefix="transformer.", torchao_defaults=False)
    applied = apply_tuned(replace(SPEC, scheme="int8dq"), cpu, SimpleNamespace(transformer=module), plans)
    assert applied.kernels == {one: "cpu:u8s8"}
    auto, file, off = given
    assert auto[Shape(128, 64, 64)].kernel == "cpu:u8s8"
    assert (set(file), off) == ({Shape(384, 64, 64)}, {})


def test_each_distinct_linear_is_measured_once_under_each_scheme():
    found = material()
    keys = [(each["rows"], each["in_features"], each["out_features"], each["scheme"]) for each in found["costs"]]
    assert len(keys) == len(set(keys))
    assert found["failed"] == []
    assert all(each["us"] > 0 for each in found["costs"])
    by_scheme = {name: [each["sqnr_db"] for each in found["costs"] if each["scheme"] == name] for name in ("left", *SCHEMES_USED)}
    assert set(by_scheme["left"]) == {None}
    assert all(36 < each < 48 for each in by_scheme["int8wo"])
    assert all(27 < each < 40 for each in by_scheme["fp8wo"])


def test_kinds_leave_out_the_numbers_of_blocks_alone():
    assert kind_of("transformer.blocks.12.attn.to_out.0") == "transformer.blocks.*.attn.to_out.*"
    assert kind_of("transformer.norm1.linear_2") == "transformer.norm1.linear_2"


def test_every_kind_has_a_gain_and_the_last_linear_passes_its_noise_on_whole():
    gains = material()["gains"]
    assert set(gains) == {each["kind"] for each in material()["layers"]}
    assert gains["transformer.proj_out"] == pytest.approx(1.0, rel=0.1)
    assert all(0 <= each < 2 for each in gains.values())
    again = measure_gains(SPEC, "cpu", lambda: None)
    assert again == gains


def test_a_gain_is_of_one_layer_of_its_kind():
    found = transformer_call(SPEC, "cpu")
    assert found is not None
    module, call = found
    kind = "transformer.transformer_blocks.*.attn.to_v"
    layers = [each for name, each in module.named_modules() if kind_of(f"transformer.{name}") == kind]
    with torch.no_grad():
        base, generator = call().float(), torch.Generator().manual_seed(SPEC.seed)
        for each in layers:
            each.register_forward_hook(_adding(generator))
        together = float((call().float() - base).square().sum() / base.square().sum()) / _ADDED
    assert len(layers) > 1
    assert material()["gains"][kind] * len(layers) == pytest.approx(together, rel=1e-3)


@pytest.mark.parametrize("name", ["flux-tiny", "cogvideox-tiny"])
def test_the_transformer_alone_has_the_weights_that_a_recording_has(name: str, monkeypatch: pytest.MonkeyPatch):
    recorded = MODELS.get(name).build("cpu", torch.bfloat16, 3).transformer
    filled: list[str] = []
    fill = whole_step.fill

    def noted(module: Any, seed: int, prefix: str) -> None:
        filled.append(prefix)
        fill(module, seed, prefix)

    for each in ("profiler.tune.whole_step.fill", "profiler.models.random_weights.fill"):
        monkeypatch.setattr(each, noted)
    module, _ = transformer(RunSpec(model=name, device="cpu", seed=3))
    assert filled == ["transformer"]
    assert (type(module), dict(module.config)) == (type(recorded), dict(recorded.config))
    assert not module.training
    one, two = (dict((*each.named_parameters(), *each.named_buffers())) for each in (module, recorded))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[each], two[each]) for each in one)
    assert {each.dtype for each in one.values()} == {each.dtype for each in two.values()}


def quantized_output(scheme: str) -> tuple[float, int]:
    """SQNR of the transformer's output in dB, and the bytes of the whole pipeline, once every layer has its scheme."""
    found, (module, call) = material(), transformer(SPEC)
    plans = [
        LinearPlan(each["module"], each["in_features"], each["out_features"], each["rows"], given)
        for each, given in zip(found["layers"], found["outcomes"][scheme], strict=True)
    ]
    with torch.no_grad():
        base = call().double()
        quantize(module, plans, prefix="transformer.", torchao_defaults=False)
        noise = call().double() - base
    held = [tensor for each in (*module.parameters(), *module.buffers()) for _, tensor in flatten(each)]
    return float(20 * torch.log10(base.norm() / noise.norm())), sum(each.numel() * each.element_size() for each in held)


def other_parts() -> int:
    pipe = MODELS.get("flux-tiny").build("cpu", torch.bfloat16, 0)
    parts = [part for name, part in components(pipe).items() if name != "transformer"]
    return sum(each.numel() * each.element_size() for part in parts for each in (*part.parameters(), *part.buffers()))


def plan(max_bytes: int | None = None, min_sqnr_db: float | None = None) -> PlanResult:
    return choose(material(), max_bytes, min_sqnr_db)


@pytest.mark.parametrize("scheme", SCHEMES_USED)
def test_what_is_predicted_of_a_scheme_comes_true(scheme: str):
    predicted = plan().singles[scheme]
    sqnr, transformer_bytes = quantized_output(scheme)
    assert predicted.model_bytes == transformer_bytes + other_parts()
    # Noise powers that add up are a model: cross terms, and the same noise in every row of a product, are left out.
    assert abs(predicted.sqnr_db - sqnr) < 3


def test_a_plan_keeps_its_budget_and_is_at_least_as_fast_as_the_best_scheme_that_does():
    singles = plan().singles
    limit = singles["int8wo"].model_bytes + 1000
    found = plan(limit, 30.0)
    assert found.plan.model_bytes <= limit
    assert found.plan.sqnr_db >= 30.0
    assert found.best_single is not None
    assert found.plan.us <= found.singles[found.best_single].us
    assert set(found.layers) == {each["module"] for each in material()["layers"]}
    assert sum(each["count"] for each in found.groups) == 50
    assert sum(each["us"] for each in found.groups) == pytest.approx(found.plan.us)
    assert sum(each["noise_share"] for each in found.groups) == pytest.approx(1.0)


def test_another_devices_schemes_are_listed_without_measuring():
    found = gather(Request(spec=RunSpec(model="flux-tiny", compile="regional"), schemes=[], hardware=H100))
    assert {"fp8dqrow", "int8dq", "sparsify", "fp8-sparse", "int8wo"} <= set(found["schemes"])
    assert "fp16" not in found["schemes"]
    assert (found["costs"], found["gains"]) == ([], None)
    assert "fp8dqrow" in layer("transformer.single_transformer_blocks.0.proj_mlp", found)["choices"]
    # Outside every compiled region there is no dynamic scheme.
    assert "fp8dqrow" not in layer("transformer.x_embedder", found)["choices"]


@pytest.mark.parametrize(
    ("schemes", "error", "why"),
    [
        (["fp8dqrow"], Refused, "needs a CUDA device"),
        (["fp16"], UsageError, "keeps what it leaves in bf16"),
        (["int3"], UsageError, "no scheme is called"),
    ],
)
def test_schemes_that_cannot_be_planned_with(schemes: list[str], error: type[Exception], why: str):
    with pytest.raises(error, match=why):
        gather(Request(spec=SPEC, schemes=schemes))


def test_a_transformer_of_an_unknown_class_is_measured_by_its_linears_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "recording"))
    asked = RunSpec(model="pipelines:small", device="cpu", compile="none")
    found = gather(Request(spec=asked, schemes=["int8wo"]))
    assert (found["known_inputs"], found["gains"]) == (False, None)
    assert {each["module"] for each in found["layers"]} == {"transformer.0", "transformer.2"}
    assert material()["known_inputs"] is True
    with pytest.raises(UsageError, match="the inputs of pipelines:small are not known"):
        contestant._build(asked, [])


def test_fused_projections_are_other_layers():
    spec = RunSpec(model="flux-tiny", compile="none", fuse_qkv=True)
    found = find_layers(spec, [SCHEMES.get("int8wo")])
    names = {each.module for each in found.linears}
    assert "transformer.transformer_blocks.0.attn.to_qkv" in names
    assert all(each.rows is not None for each in found.linears if each.module.endswith("to_qkv"))
    idle = [each.module for each in found.linears if each.module not in found.calls]
    assert all(each.rows is None for each in found.linears if each.module in idle)


def test_torchao_alone_can_apply_the_plans_config():
    from torchao.core.config import config_from_dict
    from torchao.quantization import quantize_
    from torchao.utils import TorchAOBaseTensor

    found = plan(plan().singles["int8wo"].model_bytes + 100_000, 25.0)
    config, missing = fqn_to_config(found.layers, material()["configs"])
    module, _ = transformer(SPEC)
    quantize_(module, config_from_dict(config), filter_fn=None)
    modules = dict(module.named_modules())
    quantized = {
        f"transformer.{name}" for name, each in modules.items() if isinstance(getattr(each, "weight", None), TorchAOBaseTensor)
    }
    assert missing == []
    assert quantized == {name for name, scheme in found.layers.items() if scheme != "left"}
    assert quantized

"""Schemes carried out by torchao on the tiny Flux: tensor types, true bytes, closeness, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.models.base import MODELS
from profiler.schemes.apply import list_linears, quantize
from profiler.schemes.base import SCHEMES, LinearPlan
from profiler.schemes.policy import plan_linears
from profiler.schemes.weight_only import scaled

MODEL = MODELS.get("flux-tiny")
SPEC = MODEL.resolve(RunSpec(model="flux-tiny", height=128, width=128))


def build() -> Any:
    pipe = MODEL.build("cpu", torch.bfloat16, 0)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def plans_of(pipe: Any, scheme: str) -> list[LinearPlan]:
    rows = MODEL.rows(SPEC, pipe)["transformer"]
    return plan_linears(SCHEMES.get(scheme), list_linears(pipe.transformer, rows, [], prefix="transformer."), compiling=False)


def quantized(scheme: str) -> tuple[Any, list[LinearPlan]]:
    pipe = build()
    plans = plans_of(pipe, scheme)
    quantize(pipe.transformer, plans, prefix="transformer.", torchao_defaults=False)
    return pipe, plans


def latents(pipe: Any) -> torch.Tensor:
    with torch.no_grad():
        kwargs = MODEL.call_kwargs(SPEC, 1) | {"generator": torch.Generator().manual_seed(0), "output_type": "latent"}
        return pipe(**kwargs).images.double()


def sqnr(true: torch.Tensor, measured: torch.Tensor) -> float:
    return float(20 * torch.log10(true.norm() / (true - measured).norm()))


@pytest.fixture(scope="module")
def base() -> torch.Tensor:
    return latents(build())


@pytest.mark.parametrize("scheme", ["int8wo", "int8dq", "fp8wo"])
def test_each_linear_is_what_its_plan_says(scheme: str, base: torch.Tensor):
    from torchao.utils import TorchAOBaseTensor

    pipe, plans = quantized(scheme)
    modules = dict(pipe.transformer.named_modules())
    assert {plan.module for plan in plans} == {f"transformer.{n}" for n, m in modules.items() if isinstance(m, torch.nn.Linear)}
    for plan in plans:
        weight = modules[plan.module.removeprefix("transformer.")].weight
        assert isinstance(weight, TorchAOBaseTensor)
        assert weight.qdata.dtype == (torch.float8_e4m3fn if scheme == "fp8wo" else torch.int8)
        assert weight.scale.shape == (plan.out_features, 1)
        activations = weight.act_quant_kwargs if hasattr(weight, "act_quant_kwargs") else None
        assert (activations is not None) == (plan.scheme == "int8dq")
    assert not any(isinstance(each, TorchAOBaseTensor) for each in pipe.vae.parameters())
    ratio = sqnr(base, latents(pipe))
    assert (20 if scheme.startswith("int8") else 12) < ratio < 100


def test_int8dq_plans_both_kinds_on_the_tiny_flux():
    plans = plans_of(build(), "int8dq")
    by_rows = {plan.rows: plan.scheme for plan in plans}
    assert by_rows == {1: "int8wo", 64: "int8dq", 128: "int8dq"}


@pytest.mark.parametrize("scheme", ["int8wo", "fp8wo"])
def test_scaling_the_weight_back_loses_only_the_rounding(scheme: str):
    pipe, _ = quantized(scheme)
    weight = pipe.transformer.proj_out.weight
    true = build().transformer.proj_out.weight.double()
    back = scaled(weight, torch.float64).double()
    assert torch.equal(back, (weight.qdata.to(torch.float32) * weight.scale.float()).double())
    step = weight.scale.double() if scheme == "int8wo" else true.abs() / 8 + weight.scale.double()
    assert ((back - true).abs() <= step * 0.51 + true.abs() * 2**-8).all()
    assert scaled(weight, torch.bfloat16).dtype == torch.bfloat16


def test_a_second_quantization_is_refused():
    pipe, plans = quantized("int8wo")
    before = pipe.transformer.proj_out.weight.qdata.clone()
    with pytest.raises(UsageError, match="quantized already"):
        quantize(pipe.transformer, plans, prefix="transformer.", torchao_defaults=False)
    assert torch.equal(pipe.transformer.proj_out.weight.qdata, before)


def test_what_is_left_stays_a_plain_parameter():
    pipe = build()
    before = {name: each.clone() for name, each in pipe.transformer.named_parameters()}
    quantize(pipe.transformer, plans_of(pipe, "bf16"), prefix="transformer.", torchao_defaults=False)
    after = dict(pipe.transformer.named_parameters())
    assert all(type(after[name]) is torch.nn.Parameter and torch.equal(after[name], before[name]) for name in before)


def test_regions_decide_what_counts_as_compiled():
    pipe = build()
    found = {each.module: each.compiled for each in list_linears(pipe.transformer, {}, ["transformer_blocks.1"], prefix="t.")}
    inside = {name for name, compiled in found.items() if compiled}
    assert inside == {name for name in found if name.startswith("t.transformer_blocks.1.")}
    assert len(inside) == 14
    assert all(each.compiled for each in list_linears(pipe.transformer, {}, [""]))


SWITCHES = """
import torch
from torch._inductor import config
from profiler.schemes.apply import quantize
from profiler.schemes.base import LinearPlan
before = config.coordinate_descent_tuning
module = torch.nn.Sequential(torch.nn.Linear(64, 64)).bfloat16()
quantize(module, [LinearPlan("m.0", 64, 64, 32, {scheme!r})], prefix="m.", torchao_defaults={ask})
print(before, config.coordinate_descent_tuning)
"""


@pytest.mark.parametrize(("scheme", "ask", "after"), [("int8wo", False, "False"), ("int8wo", True, "True")])
def test_inductors_switches_change_only_when_asked(scheme: str, ask: bool, after: str):
    code = SWITCHES.format(scheme=scheme, ask=ask)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", after]


@pytest.mark.parametrize("scheme", [each.name for each in SCHEMES.values() if each.config])
@pytest.mark.parametrize("ask", [False, True])
def test_every_config_passes_the_switch_on(scheme: str, ask: bool):
    config = SCHEMES.get(scheme).config
    assert config is not None
    assert config(ask).set_inductor_config is ask

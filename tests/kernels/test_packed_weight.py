"""A packed weight as a tensor: made by `quantize_`, moved, saved, copied, multiplied, compiled."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerGroup, quantize_

from profiler.core.scheme_bytes import weight_bytes
from profiler.kernels.packed_format import FORMATS
from profiler.kernels.packed_weight import PackedWeight, PackedWeightConfig

FORMS = pytest.mark.parametrize("form", sorted(FORMATS))


def model(form: str | None, *, rounds: bool = False, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    made = torch.nn.Sequential(torch.nn.Linear(256, 96, dtype=torch.bfloat16)).requires_grad_(False)
    if form:
        quantize_(made, PackedWeightConfig(form, rounds, set_inductor_config=False))
    return made


def activations(rows: int = 33, k: int = 256) -> torch.Tensor:
    return torch.randn(rows, k, generator=torch.Generator().manual_seed(5)).to(torch.bfloat16)


@FORMS
def test_it_says_what_was_quantized_and_stores_what_is_packed(form: str):
    weight = model(form)[0].weight
    assert isinstance(weight, PackedWeight)
    assert isinstance(weight, torch.nn.Parameter)
    assert (weight.shape, weight.dtype, weight.requires_grad) == ((96, 256), torch.bfloat16, False)
    assert (weight.qdata.dtype, weight.scale.dtype) == (torch.int32, torch.bfloat16)
    scheme = "int4dq" if form == "int4" else form
    stored = 4 * weight.qdata.numel() + 2 * weight.scale.numel()
    expected = weight_bytes(scheme, 96, 256)
    assert expected is not None
    assert stored == expected.total
    assert weight.qdata.numel() == 96 * 256 * FORMATS[form].bits // 32


@FORMS
def test_its_linear_is_the_product_with_what_it_dequantizes_to(form: str):
    for rows in (1, 33):
        made, x = model(form), activations(rows)
        plain = torch.nn.functional.linear(x, made[0].weight.dequantize(), made[0].bias)
        assert torch.equal(made(x), plain)
        assert torch.equal(made[0](x.reshape(1, rows, 256)), plain.reshape(1, rows, 96))
    without = copy.deepcopy(made[0])
    without.bias = None
    assert torch.equal(without(x), torch.nn.functional.linear(x, without.weight.dequantize()))


def test_int4dq_gives_torchaos_numbers_bit_for_bit():
    ours, theirs = model("int4", rounds=True), model(None)
    quantize_(theirs, Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(32)))
    assert torch.equal(ours[0].weight.dequantize(), theirs[0].weight.dequantize())
    assert torch.equal(ours(activations()), theirs(activations()))
    assert not torch.equal(ours(activations()), model("int4")(activations())), "activations are not rounded"
    stored = theirs[0].weight
    assert stored.qdata.numel() + stored.zero_point.numel() + 2 * stored.scale.numel() > 1.8 * 4 * ours[0].weight.qdata.numel()


@FORMS
def test_saved_and_loaded_it_is_the_same(form: str, tmp_path: Path):
    made, path = model(form, rounds=form == "int4"), tmp_path / "state.pt"
    torch.save(made.state_dict(), path)
    state = torch.load(path, weights_only=True, mmap=True)
    with torch.device("meta"):
        empty = torch.nn.Sequential(torch.nn.Linear(256, 96, dtype=torch.bfloat16)).requires_grad_(False)
    empty.load_state_dict(state, assign=True)
    assert isinstance(empty[0].weight, PackedWeight)
    assert torch.equal(empty[0].weight.qdata, made[0].weight.qdata)
    assert torch.equal(empty(activations()), made(activations()))
    assert path.stat().st_size < 96 * 256 * 2


@FORMS
def test_a_state_is_copied_into_a_model_that_is_quantized_too(form: str):
    one, other = model(form), model(form, seed=1)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(activations()), one(activations()))
    with pytest.raises((RuntimeError, ValueError)):
        model("fp4_e2m1" if form != "fp4_e2m1" else "int4").load_state_dict(one.state_dict())


@FORMS
def test_it_moves_in_place_and_back(form: str):
    made = model(form)
    expected, qdata = made(activations()), made[0].weight.qdata.clone()
    made.to("meta")
    assert (made[0].weight.device.type, made[0].weight.qdata.device.type) == ("meta", "meta")
    assert (made[0].weight.form, made[0].weight.shape) == (form, (96, 256))
    again = copy.deepcopy(model(form)).to("cpu")
    assert torch.equal(again[0].weight.qdata, qdata)
    assert torch.equal(again(activations()), expected)
    assert not again[0].weight.is_pinned()


def test_a_pickle_of_the_whole_model_keeps_it():
    made, file = model("fp5_e2m2"), io.BytesIO()
    torch.save(made, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(activations()), made(activations()))


def test_its_config_goes_through_json():
    from torchao.core.config import config_from_dict, config_to_dict

    config = PackedWeightConfig("fp5_e2m2", set_inductor_config=False)
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config


def test_printing_a_model_says_what_its_weights_are():
    assert "form=fp6_e3m2" in model("fp6_e3m2")[0].weight._quantization_type()


def test_compiled_it_is_one_kernel_a_weight_and_one_graph_for_equal_layers():
    """Unpacking and scaling fuse; two layers of one kind share their compiled code, as bf16's do."""
    from torch._dynamo.testing import CompileCounterWithBackend
    from torch._inductor.utils import run_and_get_code

    torch._dynamo.reset()
    layers, counter = [model("fp6_e3m2", seed=seed) for seed in range(3)], CompileCounterWithBackend("inductor")
    compiled, x = [torch.compile(each, backend=counter, fullgraph=True) for each in layers], activations()
    outs, code = run_and_get_code(lambda: [each(x) for each in compiled])
    assert counter.frame_count == 1
    assert "\n".join(code).count("async_compile.cpp_pybinding(") == 1
    for each, out in zip(layers, outs, strict=True):
        expected = torch.nn.functional.linear(x, each[0].weight.dequantize(), each[0].bias)
        assert torch.allclose(out, expected, rtol=2**-7, atol=2**-7)
    torch._dynamo.reset()

"""`weights.json`: each byte of a component's weights once, whatever holds it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchao.quantization import Float8Tensor, PerRow, PerTensor, quantize_

from profiler.recording.weights import describe_weights
from profiler.schemes.base import SCHEMES


class Pipe:
    def __init__(self, **parts: Any) -> None:
        self.components = parts


def rows_of(module: nn.Module) -> list[dict[str, Any]]:
    return describe_weights(Pipe(transformer=module))


def linear(out: int = 64) -> nn.Linear:
    return nn.Linear(32, out, bias=False, dtype=torch.bfloat16)


# What torchao makes of a weight where the GPU can do it; making it on a CPU is refused.
NEEDS_CUDA = {"fp8dq": PerTensor(), "fp8dqrow": PerRow()}


@pytest.mark.parametrize("scheme", ["fp8dq", "fp8dqrow", "fp8wo", "int8dq", "int8wo"])
def test_a_quantized_weight_is_its_inner_tensors(scheme: str):
    config, model = SCHEMES.get(scheme).config, nn.Sequential(linear())
    if scheme in NEEDS_CUDA:
        weight = Float8Tensor.from_hp(model[0].weight, granularity=NEEDS_CUDA[scheme])
        model[0].weight = nn.Parameter(weight, requires_grad=False)
    else:
        assert config is not None
        quantize_(model, config(False))
    scales = 1 if scheme == "fp8dq" else 64
    rows = rows_of(model)
    found = {each["role"]: (each["bytes"], each["dtype"]) for each in rows}
    assert found.pop("zero point", (64, "int8")) == (64, "int8")
    dtype = "int8" if scheme.startswith("int8") else "float8_e4m3fn"
    assert found == {"quantized data": (32 * 64, dtype), "scale": (4 * scales, "float32")}
    assert {(each["component"], each["name"], each["kind"]) for each in rows} == {("transformer", "0.weight", "parameter")}
    assert all(each["address"] > 0 and each["storage_bytes"] == each["bytes"] for each in rows)


def test_tied_weights_are_one_row():
    one, other = linear(), linear()
    other.weight = one.weight
    again = nn.Parameter(one.weight.data, requires_grad=False)
    rows = describe_weights(Pipe(text_encoder=nn.ModuleList([one, other]), transformer=nn.ParameterList([again]), vae=one))
    assert [(each["component"], each["name"], each["bytes"]) for each in rows] == [("text_encoder", "0.weight", 4096)]


def test_tied_quantized_weights_are_listed_once():
    one, other = linear(), linear()
    other.weight = one.weight
    config = SCHEMES.get("int8wo").config
    assert config is not None
    quantize_(one, config(False))
    other.weight = one.weight
    roles = [each["role"] for each in rows_of(nn.ModuleList([one, other]))]
    assert sorted(set(roles)) == sorted(roles)


def test_views_of_one_storage_share_its_address():
    whole = torch.zeros(4, 8)
    model = nn.Module()
    model.top, model.bottom = nn.Parameter(whole[:1]), nn.Parameter(whole[1:])
    rows = rows_of(model)
    assert [(each["name"], each["bytes"], each["storage_bytes"]) for each in rows] == [("top", 32, 128), ("bottom", 96, 128)]
    assert {each["address"] for each in rows} == {whole.untyped_storage().data_ptr()}


def test_an_expanded_buffer_has_the_bytes_of_its_memory():
    model = nn.Module()
    model.register_buffer("mask", torch.zeros(4).expand(100, 4))
    assert [(each["bytes"], each["storage_bytes"], each["shape"]) for each in rows_of(model)] == [(16, 16, [100, 4])]


def test_buffers_and_plain_attributes():
    model = nn.Sequential(nn.Module())
    model[0].register_buffer("kept", torch.zeros(2))
    model[0].register_buffer("not_kept", torch.zeros(3), persistent=False)
    model[0].table = torch.zeros(5, dtype=torch.float64)
    model[0].growing = [torch.zeros(7)]
    rows = rows_of(model)
    assert [(each["name"], each["kind"], each["role"], each["bytes"]) for each in rows] == [
        ("0.kept", "buffer", "buffer", 8),
        ("0.not_kept", "buffer", "buffer", 12),
        ("0.table", "attribute", "buffer", 40),
    ]


@pytest.mark.parametrize("scheme", ["bf16", "int8wo"])
def test_offloaded_weights_on_meta_have_bytes_and_no_address(scheme: str):
    model = nn.Sequential(linear(), linear())
    config = SCHEMES.get(scheme).config
    if config is not None:
        quantize_(model, config(False))
    here = rows_of(model)
    away = rows_of(model.to("meta"))
    keys = ("name", "role", "dtype", "shape", "bytes", "storage_bytes")
    assert [[each[key] for key in keys] for each in away] == [[each[key] for key in keys] for each in here]
    assert {(each["device"], each["address"]) for each in away} == {("meta", 0)}


def test_names_are_the_models_own_where_it_is_compiled():
    names = [each["name"] for each in rows_of(torch.compile(nn.Sequential(torch.compile(linear(), backend="eager"))))]
    assert names == ["0.weight"]


def test_a_lazy_parameter_without_a_shape_holds_nothing():
    assert rows_of(nn.LazyLinear(3)) == []

"""Quantized weights move while the profiler or dynamo's guards refer to them."""

from __future__ import annotations

import weakref

import pytest
import torch
from fakes import called, made
from torch.profiler import ProfilerActivity, profile

from profiler.placement.base import OFFLOADS
from profiler.placement.quantized import move_without_swapping

pytestmark = pytest.mark.usefixtures("one_thread", "torch_own_swap")
QUANTIZED = {"scheme": "int8wo", "quantize_text_encoder": True}


@pytest.fixture
def torch_own_swap(monkeypatch: pytest.MonkeyPatch):
    """The patch holds for the process: each test begins and ends with torch's own function."""
    monkeypatch.setattr(torch.utils, "swap_tensors", torch.utils.swap_tensors)


@pytest.mark.parametrize("name", ["model", "group"])
def test_a_traced_call_moves_its_weights(name: str):
    expected = called(*made("flux-tiny", **QUANTIZED))
    plan, pipe = made("flux-tiny", **QUANTIZED)
    move_without_swapping()
    OFFLOADS.get(name).apply(pipe, "cpu")
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True):
        found = called(plan, pipe)
    assert torch.equal(found, expected)
    assert torch.equal(called(plan, pipe), expected)


def test_without_it_a_traced_call_fails():
    # Should this pass one day, the patch can go.
    plan, pipe = made("flux-tiny", **QUANTIZED)
    OFFLOADS.get("model").apply(pipe, "cpu")
    with pytest.raises(RuntimeError, match="Couldn't swap"), profile(activities=[ProfilerActivity.CPU], record_shapes=True):
        called(plan, pipe)


def test_a_weight_that_is_referred_to_keeps_its_identity_and_gets_the_other_storage():
    _, pipe = made("flux-tiny", **QUANTIZED)
    weight = pipe.transformer.transformer_blocks[0].attn.to_q.weight
    held, copy = weakref.ref(weight), weight.clone()
    address = copy.qdata.data_ptr()
    move_without_swapping()
    torch.utils.swap_tensors(weight, copy)
    assert held() is weight
    assert weight.qdata.data_ptr() == address
    assert isinstance(weight, torch.nn.Parameter)


def test_the_wrapper_takes_the_device_of_its_copy():
    _, pipe = made("flux-tiny", **QUANTIZED)
    weight = pipe.transformer.transformer_blocks[0].attn.to_q.weight
    move_without_swapping()
    # A wrapper that says CUDA needs no CUDA: it holds nothing.
    there = torch.Tensor._make_wrapper_subclass(type(weight), weight.shape, dtype=weight.dtype, device="cuda:0")
    there.__dict__.update(vars(weight))
    torch.utils.swap_tensors(weight, there)
    assert weight.device == torch.device("cuda:0")


def test_plain_tensors_are_still_swapped_and_installing_twice_is_once():
    own = torch.utils.swap_tensors
    move_without_swapping()
    installed = torch.utils.swap_tensors
    move_without_swapping()
    assert torch.utils.swap_tensors is installed is not own
    one, other = torch.ones(2), torch.zeros(3)
    torch.utils.swap_tensors(one, other)
    assert (one.tolist(), other.tolist()) == ([0, 0, 0], [1, 1])

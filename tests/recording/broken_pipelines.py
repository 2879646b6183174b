"""Pipelines that tests explain as `broken_pipelines:function`: a tiny Flux with one planted fault."""

from __future__ import annotations

import os
import signal
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from profiler.models.base import MODELS

# What an assert of a line number is measured against: the statement that carries the mark.
ITEM, PRINT, BRANCH, NUMPY = "# planted: item", "# planted: print", "# planted: branch", "# planted: numpy"


def _tiny(device: str, dtype: Any, seed: int) -> Any:
    return MODELS.get("flux-tiny").build(device, dtype, seed)


def _in_blocks(pipe: Any, act: Any) -> Any:
    """Run `act(hidden_states)` at the start of every double block's forward; one function, as a block's own code is."""
    inner = type(pipe.transformer.transformer_blocks[0]).forward

    def forward(self: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        act(hidden_states)
        return inner(self, hidden_states, *args, **kwargs)

    for block in pipe.transformer.transformer_blocks:
        block.forward = MethodType(forward, block)
    return pipe


def item(device: str, dtype: Any, seed: int) -> Any:
    return _in_blocks(_tiny(device, dtype, seed), lambda hidden: hidden.abs().max().item())  # planted: item


def prints(device: str, dtype: Any, seed: int) -> Any:
    return _in_blocks(_tiny(device, dtype, seed), lambda hidden: print("largest", hidden.abs().max()))  # planted: print


def branch(device: str, dtype: Any, seed: int) -> Any:
    def check(hidden: Any) -> Any:
        if hidden.abs().max() > 1e9:  # planted: branch
            return hidden / 2
        return hidden

    return _in_blocks(_tiny(device, dtype, seed), check)


class _NumpyPositions(nn.Module):
    """Rotary embeddings by way of numpy, as Flux once had them; `unwrap` is a function that dynamo cannot trace."""

    def __init__(self, inner: Any, unwrap: bool) -> None:
        super().__init__()
        self.inner, self.unwrap = inner, unwrap

    def forward(self, ids: Any) -> Any:
        positions = ids.float().cpu().numpy()
        if self.unwrap:
            positions = np.unwrap(positions)  # planted: numpy
        return self.inner(torch.from_numpy(np.asarray(positions)).to(ids.device))


def _with_positions(pipe: Any, unwrap: bool) -> Any:
    pipe.transformer.pos_embed = _NumpyPositions(pipe.transformer.pos_embed, unwrap)
    return pipe


def numpy_positions(device: str, dtype: Any, seed: int) -> Any:
    return _with_positions(_tiny(device, dtype, seed), unwrap=False)


def numpy_unwrap(device: str, dtype: Any, seed: int) -> Any:
    return _with_positions(_tiny(device, dtype, seed), unwrap=True)


def raising(device: str, dtype: Any, seed: int) -> Any:
    """The transformer raises wherever it runs; text encoders and VAE are whole."""
    pipe = _tiny(device, dtype, seed)

    def forward(*_args: Any, **_kwargs: Any) -> Any:
        raise ArithmeticError("this transformer never works")

    pipe.transformer.forward = forward
    return pipe


def on_the_cpu() -> Any:
    """Takes no device: its parts run where they are."""
    return _tiny("cpu", torch.bfloat16, 0)


class _Denoiser(nn.Module):
    """A transformer of a class that no family knows."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 4)

    def forward(self, latents: Any, scale: float) -> Any:
        torch._dynamo.graph_break()
        return self.project(latents) * scale


class UnknownPipeline:
    """The least that is a pipeline: components and a call."""

    def __init__(self, device: str) -> None:
        with torch.device(device):
            self.transformer = _Denoiser()
        self.components = {"transformer": self.transformer, "scheduler": None}

    def __call__(self, prompt: str, height: int, width: int, num_inference_steps: int) -> Any:
        latents = torch.ones(1, height // 16 * width // 16, 4)
        for _ in range(num_inference_steps):
            latents = self.transformer(latents, scale=len(prompt) / 10)
        return latents


def unknown(device: str) -> Any:
    return UnknownPipeline(device)


def not_built() -> Any:
    raise ArithmeticError("no pipeline today")


def not_on_meta(device: str) -> Any:
    """Can be built on a real device alone."""
    if device == "meta":
        raise NotImplementedError("no meta device here")
    return UnknownPipeline(device)


def killed() -> Any:
    """Takes the whole process with it, as a machine out of memory does."""
    os.kill(os.getpid(), signal.SIGKILL)

"""Pipelines that tests record as `pipelines:function`: a tiny Flux or less, that watches, waits or breaks where it is told to."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from profiler.models.base import MODELS


def tiny(device: str = "cpu", dtype: Any = torch.bfloat16, seed: int = 0) -> Any:
    return MODELS.get("flux-tiny").build(device, dtype, seed)


class Small:
    """The least that a recording takes for a whole pipeline, for runs that die: nothing of diffusers is imported."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.transformer = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 8)).bfloat16()
        self.scheduler = SimpleNamespace(step=lambda output, _time, sample: (sample - output / 10,))
        self.components = {"transformer": self.transformer, "scheduler": self.scheduler}

    def to(self, device: str) -> Small:
        self.transformer.to(device)
        return self

    def __call__(self, prompt: str, num_inference_steps: int, height: int, width: int, generator: Any = None) -> Any:
        latents = torch.randn(height // 8, width // 8, 8, generator=generator).bfloat16()
        for step in range(num_inference_steps):
            (latents,) = self.scheduler.step(self.transformer(latents), step, latents)
        return SimpleNamespace(images=[latents[..., :3].float().sigmoid().numpy()])


def small() -> Any:
    return Small()


def _before_forward(pipe: Any, act: Callable[[int], None]) -> Any:
    """Call `act(n)` before the n-th forward of the transformer (from 0)."""
    count = iter(range(1 << 30))
    pipe.transformer.register_forward_pre_hook(lambda *_: act(next(count)))
    return pipe


def watched(device: str, dtype: Any, seed: int) -> Any:
    """Writes one line of $WATCH_FILE a forward: what records at that moment."""
    pipe = tiny(device, dtype, seed)
    file = Path(os.environ["WATCH_FILE"])

    def note(_count: int) -> None:
        row = {
            "time_ns": time.time_ns(),
            "profiler": torch.autograd._profiler_enabled(),
            "kineto": torch._C._autograd._profiler_type().name if torch.autograd._profiler_enabled() else "",
            "handlers": sorted(Path(each.root_dir or "torch").name for each in logging.getLogger("torch.__trace").handlers),
            "patched": sorted({"encode_prompt", "progress_bar"} & set(vars(pipe))),
            "vae": "decode" in vars(pipe.vae),
            "scheduler": "step" in vars(pipe.scheduler),
        }
        with file.open("a") as target:
            target.write(json.dumps(row) + "\n")

    return _before_forward(pipe, note)


def raising() -> Any:
    """Fails in its second step: with --trace-steps 1 that is the second step of the timed call."""

    def fail(count: int) -> None:
        if count == 2:
            raise ArithmeticError("the second step went wrong")

    return _before_forward(Small(), fail)


def greedy() -> Any:
    """Asks the CPU's allocator for a petabyte in the timed call."""

    def allocate(count: int) -> None:
        if count == 1:
            torch.empty(1 << 50, dtype=torch.uint8)

    return _before_forward(Small(), allocate)


def uncompilable(device: str, dtype: Any, seed: int) -> Any:
    """Its transformer's backend refuses every graph."""
    pipe = tiny(device, dtype, seed)

    def backend(_graph: Any, _inputs: Any) -> Any:
        raise NotImplementedError("this backend compiles nothing")

    compile_ = pipe.transformer.compile
    pipe.transformer.compile = lambda **_: compile_(backend=backend)
    return pipe


def waiting() -> Any:
    """Says `here` in $WAIT_FILE before the $WAIT_AT-th forward (or while loading) and then waits to be killed."""
    file, wanted = Path(os.environ["WAIT_FILE"]), os.environ["WAIT_AT"]

    def wait() -> None:
        file.write_text(str(os.getpid()))
        time.sleep(300)

    if wanted == "load":
        wait()
    return _before_forward(Small(), lambda count: wait() if str(count) == wanted else None)


def filling(device: str, dtype: Any, seed: int) -> Any:
    """Fills the disk of $FILL_FOLDER before the timed call, but for $FILL_LEAVE bytes."""

    def fill(count: int) -> None:
        if count == 1:
            folder = Path(os.environ["FILL_FOLDER"])
            disk = os.statvfs(folder)
            room = disk.f_bavail * disk.f_frsize - int(os.environ["FILL_LEAVE"])
            (folder / "ballast").write_bytes(b"\0" * room)

    return _before_forward(tiny(device, dtype, seed), fill)

"""Pipelines that tests record as `pipelines:function`: a tiny Flux that watches, waits or breaks where it is told to."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from profiler.models.base import MODELS


def tiny(device: str = "cpu", dtype: Any = torch.bfloat16, seed: int = 0) -> Any:
    return MODELS.get("flux-tiny").build(device, dtype, seed)


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


def raising(device: str, dtype: Any, seed: int) -> Any:
    """Fails in its second step: with --trace-steps 1 that is the second step of the timed call."""

    def fail(count: int) -> None:
        if count == 2:
            raise ArithmeticError("the second step went wrong")

    return _before_forward(tiny(device, dtype, seed), fail)


def greedy(device: str, dtype: Any, seed: int) -> Any:
    """Asks the CPU's allocator for a petabyte in the timed call."""

    def allocate(count: int) -> None:
        if count == 1:
            torch.empty(1 << 50, dtype=torch.uint8)

    return _before_forward(tiny(device, dtype, seed), allocate)


def uncompilable(device: str, dtype: Any, seed: int) -> Any:
    """Its transformer's backend refuses every graph."""
    pipe = tiny(device, dtype, seed)

    def backend(_graph: Any, _inputs: Any) -> Any:
        raise NotImplementedError("this backend compiles nothing")

    compile_ = pipe.transformer.compile
    pipe.transformer.compile = lambda **_: compile_(backend=backend)
    return pipe


def waiting(device: str, dtype: Any, seed: int) -> Any:
    """Says `here` in $WAIT_FILE before the $WAIT_AT-th forward (or while loading) and then waits to be killed."""
    file, wanted = Path(os.environ["WAIT_FILE"]), os.environ["WAIT_AT"]

    def wait() -> None:
        file.write_text(str(os.getpid()))
        time.sleep(300)

    if wanted == "load":
        wait()
    return _before_forward(tiny(device, dtype, seed), lambda count: wait() if str(count) == wanted else None)


def filling(device: str, dtype: Any, seed: int) -> Any:
    """Fills the disk of $FILL_FOLDER before the timed call, but for $FILL_LEAVE bytes."""

    def fill(count: int) -> None:
        if count == 1:
            folder = Path(os.environ["FILL_FOLDER"])
            disk = os.statvfs(folder)
            room = disk.f_bavail * disk.f_frsize - int(os.environ["FILL_LEAVE"])
            (folder / "ballast").write_bytes(b"\0" * room)

    return _before_forward(tiny(device, dtype, seed), fill)

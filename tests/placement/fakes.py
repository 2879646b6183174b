"""Tiny pipelines, quantized and called as a recording does it, and offloads whose device is the CPU."""

from __future__ import annotations

from typing import Any

import torch

from profiler.core.spec import RunSpec
from profiler.models.base import MODELS
from profiler.recording import prepare
from profiler.schemes.base import Hardware

SMALL = {"flux-tiny": {"height": 64, "width": 64}, "cogvideox-tiny": {"height": 64, "width": 64, "frames": 9}}


def made(model: str, **asked: Any) -> tuple[prepare.Plan, Any]:
    """A plan and its pipeline, loaded and quantized; nothing is placed yet."""
    spec = MODELS.get(model).resolve(RunSpec(model=model, **(SMALL[model] | asked)))
    plan = prepare.look_up(spec, MODELS.get(model), Hardware("cpu"))
    pipe = prepare.load(plan)
    prepare.quantize_pipeline(plan, pipe)
    pipe.set_progress_bar_config(disable=True)
    return plan, pipe


def called(plan: prepare.Plan, pipe: Any, **more: Any) -> Any:
    """The pictures or videos of one call of 2 steps, as a tensor."""
    kwargs = plan.model.call_kwargs(plan.spec, 2) | {"generator": torch.Generator().manual_seed(0), "output_type": "pt"} | more
    with torch.no_grad():
        output = pipe(**kwargs)
    return output.images if hasattr(output, "images") else output.frames


def offload_sequentially(pipe: Any) -> None:
    """What `enable_sequential_cpu_offload` does with each component; it insists on a numbered device, which a CPU is not."""
    from accelerate import cpu_offload

    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            cpu_offload(component, torch.device("cpu"), offload_buffers=len(component._parameters) > 0)

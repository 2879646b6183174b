"""Flash and cuDNN attention switched off for the whole process, as a work-around that stayed."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register


def plant(_pipe: Any) -> None:
    import torch
    import torch._inductor.config

    # A graph that was cached keeps the backend that it was compiled with.
    torch._inductor.config.force_disable_caches = True
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)


register(
    Fault(
        name="slow-attention",
        summary="attention forced onto the memory-efficient backend",
        plant=plant,
        file=here(),
        expects=("attention-backend",),
        fix="leave every backend enabled",
        spec={"compile": "regional"},
        needs_cuda=True,
        placed=False,
    ),
)

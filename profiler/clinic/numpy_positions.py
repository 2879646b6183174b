"""Rotary position embeddings by way of numpy, as Flux once had them: dynamo traces no `np.unwrap`."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register


def plant(pipe: Any) -> None:
    import numpy as np
    import torch

    embed = pipe.transformer.pos_embed.forward

    def positions(ids: Any) -> Any:
        unwrapped = np.unwrap(ids.float().cpu().numpy(), period=1e9)  # planted
        return embed(torch.from_numpy(unwrapped).to(ids.device, ids.dtype))

    pipe.transformer.pos_embed.forward = positions


register(
    Fault(
        name="numpy-positions",
        summary="position embeddings through numpy",
        plant=plant,
        file=here(),
        expects=("graph-break", "host-sync"),
        fix="compute positions with torch on the device of the latents, once for a size",
        spec={"compile": "default"},
    ),
)

"""The noise that a call starts from: the same for every dtype and version of torch."""

from __future__ import annotations

import inspect
from typing import Any

from profiler.rundir.layout import NOISE_DTYPE


def draw_noise_alike(pipe: Any) -> str | None:
    """Let a diffusers pipeline draw its latents in float32 and round them to its own dtype.

    Before torch 2.12 one seed of the CPU's generator gives other numbers in bfloat16, in float16 and in float32: runs of two
    dtypes, or of two versions, would denoise another picture each, and nothing said of their difference would be of the scheme.

    Args:
        pipe: of a registered model: nothing but latents and their positions comes out of its `prepare_latents`, and float32 holds
            both. A pipeline that encodes a picture there would be given another dtype than its VAE has.

    Returns:
        The dtype that noise is drawn in; None where the pipeline lets nothing be set, and draws it as it did.
    """
    inner = getattr(pipe, "prepare_latents", None)
    if not callable(inner) or "dtype" not in (signature := inspect.signature(inner)).parameters:
        return None

    def prepare_latents(*args: Any, **kwargs: Any) -> Any:
        import torch

        bound = signature.bind(*args, **kwargs)
        wanted, bound.arguments["dtype"] = bound.arguments["dtype"], getattr(torch, NOISE_DTYPE)
        return _rounded(inner(*bound.args, **bound.kwargs), wanted)

    pipe.prepare_latents = prepare_latents
    return NOISE_DTYPE


def _rounded(found: Any, dtype: Any) -> Any:
    """Tensors of floats in another dtype; what else a pipeline returns is left."""
    import torch

    if isinstance(found, tuple):
        return tuple(_rounded(each, dtype) for each in found)
    return found.to(dtype) if isinstance(found, torch.Tensor) and found.is_floating_point() else found

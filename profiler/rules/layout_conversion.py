"""Layout conversions around convolutions: NCHW tensors given to cuDNN's NHWC kernels."""

from __future__ import annotations

from profiler.core.finding import Saving
from profiler.rules.context import Context
from profiler.rules.kernels_of import busy
from profiler.rules.named_kernels import NamedKernels, register, vae_compiled


def _change(context: Context, window: str) -> str:
    """GroupNorm makes its input contiguous again: on an H100 the VAE of Flux takes 1.6 times as long with --channels-last."""
    if busy(context, window, "RowwiseMoments"):
        return f"{vae_compiled(context)}: it chooses one layout; with --channels-last alone GroupNorm converts it back"
    return "--channels-last"


RULE = register(
    NamedKernels(
        rule="layout-conversion",
        summary="NCHW to NHWC around convolutions",
        pattern=r"nchwToNhwc|nhwcToNchw",
        least=0.01,
        title="convolutions convert their layout: {ms:.1f} ms a {window}",
        saving=Saving(share_low=0.6, share_high=1.0),
        change=_change,
    )
)

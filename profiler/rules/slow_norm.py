"""Normalization kernels that take far longer than their bytes would.

`RowwiseMoments`: GroupNorm with few groups gives each group to one block, so that most of the GPU stands still.
"""

from __future__ import annotations

from profiler.core.finding import Saving
from profiler.rules.named_kernels import NamedKernels, register, vae_compiled

RULE = register(
    NamedKernels(
        rule="slow-norm",
        summary="slow normalization",
        pattern=r"RowwiseMoments",
        least=0.02,
        title="GroupNorm's moments take {ms:.1f} ms a {window}: one block a group, most of the GPU idle",
        saving=Saving(share_low=0.6, share_high=0.95),
        change=lambda context, _window: f"{vae_compiled(context)} fuses GroupNorm into kernels that use the whole GPU",
    )
)

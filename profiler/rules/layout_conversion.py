"""Layout conversions around convolutions: NCHW tensors given to cuDNN's NHWC kernels."""

from __future__ import annotations

from profiler.core.finding import Saving
from profiler.rules.named_kernels import NamedKernels, register

RULE = register(
    NamedKernels(
        rule="layout-conversion",
        summary="NCHW to NHWC around convolutions",
        pattern=r"nchwToNhwc|nhwcToNchw",
        least=0.01,
        title="convolutions convert their layout: {ms:.1f} ms a {window}",
        saving=Saving(share_low=0.5, share_high=1.0),
        change="--channels-last",
    )
)

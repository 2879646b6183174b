"""What the schemes with packed weights share. No torch at import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from profiler.schemes.base import LinearInfo

# Inputs of a row that are packed together: `profiler.kernels.packed_format.TOGETHER`, which would import torch.
TOGETHER = 32


def config_of(form: str, *, rounds_activations: bool = False) -> Callable[[bool], Any]:
    """A scheme's `config` for a format of `profiler.kernels.packed_format`."""

    def config(set_inductor_config: bool) -> Any:
        from profiler.kernels.packed_weight import PackedWeightConfig

        return PackedWeightConfig(form, rounds_activations, set_inductor_config)

    return config


def accepts(scheme: str) -> Callable[[LinearInfo], str | None]:
    """A scheme's `accepts`: whole words of packed inputs alone."""

    def against(linear: LinearInfo) -> str | None:
        if linear.in_features % TOGETHER:
            return f"{scheme} packs {TOGETHER} inputs of a row together, and this one has {linear.in_features}"
        return None

    return against

"""A VAE in NCHW: cuDNN converts to NHWC and back around every convolution."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register


def plant(_pipe: Any) -> None:
    """The base as it is built is the faulty one: its fix is --channels-last."""


register(
    Fault(
        name="vae-layout",
        summary="convolutions in NCHW",
        plant=plant,
        file=here(),
        expects=("layout-conversion",),
        fix="--channels-last",
        base="flux with a convolutional VAE",
        spec={"compile": "regional", "steps": 2, "trace_steps": 2},
        clean_spec={"channels_last": True},
        needs_cuda=True,
        placed=False,
    ),
)

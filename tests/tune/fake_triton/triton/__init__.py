"""A stand-in for Triton where there is none: its names as torchao's kernels use them at import, and its `Config`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triton import language, runtime
from triton.runtime.autotuner import Config

__all__ = ["Config", "cdiv", "jit", "language", "runtime"]
__version__ = "0.0"


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def cdiv(a: int, b: int) -> int:
    return -(-a // b)

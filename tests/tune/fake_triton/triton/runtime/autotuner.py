"""Triton's `Config`, with the attributes of the real one."""

from __future__ import annotations

from typing import Any


class Config:
    """Keyword arguments of a kernel, and how it is compiled."""

    def __init__(self, kwargs: dict[str, Any], num_warps: int = 4, num_stages: int = 3, num_ctas: int = 1) -> None:
        self.kwargs, self.num_warps, self.num_stages, self.num_ctas = kwargs, num_warps, num_stages, num_ctas
        self.maxnreg = self.pre_hook = self.ir_override = None

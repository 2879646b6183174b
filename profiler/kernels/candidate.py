"""What a search over kernels chooses from: shapes and candidates. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from profiler.core.product import Shape, parse_shape

__all__ = ["Candidate", "Shape", "parse_shape"]


@dataclass(frozen=True)
class Candidate:
    """One way to compute a product.

    Attributes:
        kernel: what the op takes as `kernel`; names the space and the whole configuration.
        space: the family of kernels that it belongs to.
        config: its parameters, for reports.
    """

    kernel: str
    space: str
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)

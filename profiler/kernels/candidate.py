"""What a search over kernels chooses from: shapes and candidates. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from profiler.core.errors import UsageError

_SHAPE = re.compile(r"([1-9]\d{0,8})x([1-9]\d{0,8})x([1-9]\d{0,8})")


class Shape(NamedTuple):
    """One product: a (M, K) times b (K, N)."""

    m: int
    k: int
    n: int

    def __str__(self) -> str:
        return f"{self.m}x{self.k}x{self.n}"

    @property
    def ops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.m * self.k * self.n


def parse_shape(text: str) -> Shape:
    """The shape written as MxKxN.

    Raises:
        UsageError: it is written otherwise.
    """
    found = _SHAPE.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(f"{text!r} is no shape", "give MxKxN, for example 4608x3072x12288")
    return Shape(*(int(each) for each in found.groups()))


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

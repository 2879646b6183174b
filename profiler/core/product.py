"""The shape of a matrix product, as tables and commands write it."""

from __future__ import annotations

import re
from typing import NamedTuple

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

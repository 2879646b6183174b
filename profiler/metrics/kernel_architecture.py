"""Which GPU generation a kernel was written for, as its name says."""

from __future__ import annotations

import re

_ARCHITECTURE = re.compile(
    r"cutlass_?(?P<cutlass>\d{2})_|(?:^|[^a-z])sm(?P<sm>\d{2,3})(?!\d)|(?P<ampere>ampere_)|(?P<turing>turing_)|(?P<volta>volta_)"
)
NAMES = {7: "Volta or Turing", 8: "Ampere", 9: "Hopper", 10: "Blackwell"}
"""Generations by major compute capability."""


def architecture(kernel: str) -> int | None:
    """Major compute capability that a kernel's name says it was written for, or None."""
    match = _ARCHITECTURE.search(kernel)
    if not match:
        return None
    digits = match["cutlass"] or match["sm"]
    if digits:
        return int(digits) // 10
    return 8 if match["ampere"] else 7

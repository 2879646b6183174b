"""Sizes as people type them."""

from __future__ import annotations

import math
import re

from profiler.core.errors import UsageError

_UNITS = {"": 1.0, "g": 1.0, "gib": 1.0, "m": 1 / 1024, "mib": 1 / 1024}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_gib(option: str, text: str | None) -> float | None:
    """`24`, `24GiB`, `24G` and `900MiB` in GiB; None stays None.

    Raises:
        UsageError: anything else, and sizes of nothing.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    size = float(match[1]) * unit if match and unit else 0.0
    if not 0 < size < math.inf:
        raise UsageError(f"{option} {text} is no size", "for example 24GiB")
    return size

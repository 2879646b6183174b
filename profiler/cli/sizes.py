"""Sizes as people type them."""

from __future__ import annotations

import re

from profiler.core.errors import UsageError
from profiler.core.units import GIB, MIB

# A third of a year. An endless limit is no number that JSON or a timer takes: who means none leaves it out.
MOST_S = 10**7
_UNITS = {"gib": GIB, "gb": 10**9, "g": GIB, "mib": MIB, "mb": 10**6, "m": MIB}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]*)", re.IGNORECASE)


def parse_bytes(option: str, text: str | None) -> int | None:
    """Bytes of `24` (GiB), `24GiB`, `24G`, `24GB` (10^9 each) and `900MiB`; None stays None.

    Raises:
        UsageError: anything else, and sizes of nothing.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower() or "gib") if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if size <= 0:
        raise UsageError(f"{option} {text} is no size", "give one as 24GiB")
    return size

"""What the level of a cell in another dtype than its base's is of."""

from __future__ import annotations

import math
from typing import Any

from profiler.core.lists import by_reason

_SCHEME = "fp16"
# diffusers rounds both to the dtype of the latents, and multiplies them by 1000 in it, before it embeds them; flux-schnell has no
# guidance to embed.
_EMBEDS_TIMESTEPS = ("flux-dev", "flux-tiny", "flux-schnell")
_EMBEDS_GUIDANCE = ("flux-dev", "flux-tiny")
_SCALE, _BF16_BITS = 1000, 8


def other_dtype(rows: list[dict[str, Any]]) -> list[str]:
    """A note on cells of fp16: their SQNR is that of one dtype against another, and of no scheme."""
    known = (row for row in rows if row.get("scheme") == _SCHEME and row.get("sqnr_db") is not None)
    named = by_reason((row["id"], _conditioning(row)) for row in known)
    return [f"{', '.join(ids)}: {_SCHEME} held against bf16, a level of no scheme{why}" for why, ids in named.items()]


def _conditioning(row: dict[str, Any]) -> str:
    """What the two dtypes are told apart: with random weights another number embedded is another picture."""
    if row.get("model") not in _EMBEDS_TIMESTEPS:
        return ""
    guidance = row.get("guidance") if row["model"] in _EMBEDS_GUIDANCE else None
    asked = _SCALE * (guidance or 0.0)
    made = bfloat16(_SCALE * bfloat16(guidance or 0.0))
    if made == asked:
        return ": timesteps are embedded, and bf16 rounds them more"
    return f": timesteps and {_SCALE} x guidance are embedded, and bf16 makes {made:g} of {asked:g}"


def bfloat16(value: float) -> float:
    """The bfloat16 next to a number, ties to even."""
    fraction, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(fraction, _BF16_BITS)), exponent - _BF16_BITS)

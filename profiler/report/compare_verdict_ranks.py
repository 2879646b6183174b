"""The verdict on scaling: what one call gains from more ranks, and where the rest of their time goes."""

from __future__ import annotations

from profiler.metrics.compare import Comparison
from profiler.metrics.compare_ranks import Scaled, Scaling
from profiler.report.compare_words import NEAR_LINEAR, NO_FASTER, PARTLY, UNKNOWN, Verdict, ms, several, signed

# From this share of a linear speed-up on.
_NEAR = 0.9
# A part is worth a word from this share of what is lost on.
_WORTH = 0.02


def of_scaling(comparison: Comparison) -> Verdict | None:
    """What more ranks bring, whichever run has them; None where both have as many."""
    found = comparison.scaling
    if found is None:
        return None
    if found.speedup is None or found.efficiency is None:
        return Verdict("scaling", UNKNOWN, f"{_counts(found)}: {found.why}")
    words = f"a {found.of} is {found.speedup:.2f} times as fast on {_counts(found)}: {found.efficiency:.0%} of linear scaling"
    words += f" (with {', '.join(found.also)} changed too: not the ranks alone)" if found.also else ""
    return Verdict("scaling", _kind(found), words + _lost(comparison, found) + _whole(found))


def _kind(found: Scaling) -> str:
    if (found.efficiency or 0.0) >= _NEAR:
        return NEAR_LINEAR
    return PARTLY if (found.speedup or 0.0) > 1 else NO_FASTER


def _counts(found: Scaling) -> str:
    of = "" if found.run == "new" else " (the base)"
    return f"{found.many} ranks{of} instead of {found.few}"


def _lost(comparison: Comparison, found: Scaling) -> str:
    """What a step takes beyond an even share of that with few ranks."""
    lost = sum(each.lost_ns for each in found.parts)
    if lost <= 0:
        return ""
    many_ns, even_ns = (sum(getattr(each, name) for each in found.parts) for name in ("many_ns", "even_ns"))
    of = comparison.ranks[found.run == "new"]
    whose = f" of rank {of.rank}" if of else ""
    words = f". A {found.window}{whose} takes {ms(many_ns)}, an even share of one on {found.few} is {ms(even_ns)}"
    parts = sorted((each for each in found.parts if each.lost_ns >= _WORTH * lost), key=lambda each: -each.lost_ns)
    return f"{words}: {several([_part(each) for each in parts])}"


def _part(each: Scaled) -> str:
    return f"{each.name} {signed(each.lost_ns / 1e6, 2)} ms"


def _whole(found: Scaling) -> str:
    if not found.whole_ms:
        return ""
    return f". Text encoding and decoding, {found.whole_ms:,.1f} ms of a call, run whole on every rank"

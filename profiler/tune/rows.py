"""What a search found, as it is written down."""

from __future__ import annotations

from typing import Any

from profiler.tune.search import Found
from profiler.tune.shapes import Wanted

# torchao's own kernel: the one space whose configurations its file can hold.
TORCHAO_SPACE = "torchao"


def row(wanted: Wanted, found: Found) -> dict[str, Any]:
    """One shape of `tune.json`."""
    best = {"kernel": found.best.kernel, "config": dict(found.best.config), "us": found.us}
    return size(wanted) | {
        "best": best | {"tops": found.shape.ops / found.us / 1e6},
        "spaces": {space: {"kernel": each.kernel, "us": us} for space, (each, us) in found.spaces.items()},
        "candidates": found.candidates,
        "failed": found.failed,
        "wrong": found.wrong,
    }


def size(wanted: Wanted) -> dict[str, Any]:
    """Its M, K and N, and how often a step issues it."""
    return wanted.shape._asdict() | {"count": wanted.count}


def best_of_torchao(found: Found) -> dict[str, Any] | None:
    """Configuration and time of the best of torchao's own kernel; None where it was not tried."""
    if TORCHAO_SPACE not in found.spaces:
        return None
    candidate, us = found.spaces[TORCHAO_SPACE]
    return {"config": dict(candidate.config), "us": us}


def rejections(found: Found) -> str:
    """How many candidates were no good, for people; nothing where all were."""
    counts = {"wrong": len(found.wrong), "failed": len(found.failed)}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f" ({told} of {found.candidates})" if told else ""

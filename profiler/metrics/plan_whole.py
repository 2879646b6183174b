"""Whole steps that were measured have the last word over a plan that was added up layer by layer."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from profiler.metrics.plan import PlanResult, outcome_of

MIXED = "mixed"
"""The plan that was found layer by layer, beside the names of schemes."""

# The sum of single Linears misses what is fused, the host and the clock: a single scheme so near may yet be faster.
_NEAR = 1.25
_MOST_SINGLES = 3


def finalists(material: dict[str, Any], result: PlanResult) -> dict[str, dict[str, str]]:
    """What is worth measuring as a whole: the plan, and the fastest single schemes within the budget; module -> scheme of each.

    Empty where there is nothing to compare the plan with.
    """
    near = sorted((each.us, name) for name, each in result.singles.items() if each.fits and each.us <= _NEAR * result.plan.us)
    found = {MIXED: result.layers}
    for _, name in near:
        outcome = outcome_of(material, name)
        # Two schemes may give every layer the same: one of them is measured.
        if outcome not in found.values() and len(found) <= _MOST_SINGLES:
            found[name] = outcome
    return found if len(found) > 1 else {}


def uncompared(material: dict[str, Any], result: PlanResult) -> str:
    """Why there is nothing to measure whole steps of; empty where there is."""
    if not material.get("known_inputs", True):
        return f"whole steps were not measured: the inputs of {material['model']} are not known"
    if finalists(material, result):
        return ""
    other = "other " if any(result.layers == outcome_of(material, name) for name in result.singles) else ""
    near = f"within {_NEAR - 1:.0%} of the plan by the sum"
    return f"whole steps were not measured: no {other}single scheme within the budget is {near}"


def unmeasured(assignments: Iterable[str]) -> dict[str, Any]:
    """What is known of whole steps before any is measured: a plan says so where planning was ended then."""
    why = "planning ended before its steps were measured"
    return {"steps": 0, "steps_us": {}, "failed": dict.fromkeys(assignments, why), "taken": MIXED}


def fastest(measured: dict[str, Any]) -> str | None:
    """Of whole steps that were measured, the name of the least median; None where none could be."""
    medians = {name: statistics.median(each) for name, each in measured["steps_us"].items()}
    return min(medians, key=lambda name: medians[name], default=None)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How the taken assignment stands against another.

    Attributes:
        less: by what share of the other's its steps take less: the median over the rounds, each compared within itself.
        clear: whether the slowest round of the taken one is faster than the fastest of the other.
        rounds: in how many rounds they were compared.
    """

    taken: str
    other: str
    less: float
    clear: bool
    rounds: int


def verdict(measured: dict[str, Any]) -> Verdict | None:
    """The taken one against the plan that was found layer by layer, or, where it is that, against the next; None without both."""
    taken, rounds = measured["taken"], measured["steps_us"]
    beside = {name: each for name, each in rounds.items() if name != taken}
    if taken not in rounds or not beside:
        return None
    other = MIXED if MIXED in beside else fastest({"steps_us": beside}) or MIXED
    # Rounds of two plans may differ in number in a file of before these were made even.
    ratios = [one / two for one, two in zip(rounds[taken], rounds[other], strict=False)]
    clear = max(rounds[taken]) < min(rounds[other])
    return Verdict(taken=taken, other=other, less=1 - statistics.median(ratios), clear=clear, rounds=len(ratios))

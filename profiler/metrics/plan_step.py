"""A step under one scheme a layer: products, attention, elementwise kernels and idle time, at the clock that the power allows.

A GPU at its power limit lowers its clock until the work fits. Tensor cores need the most power: the larger their share of a step,
the slower they run. So bf16 products of a compiled step take longer than the same ones of an eager step, between whose
elementwise kernels power is left over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from profiler.core.product import Shape
from profiler.metrics.plan_products import Part

PARTS = ("products", "attention", "elementwise", "quantizing", "idle")
"""What a step is summed of. `quantizing` is all kernels that a scheme adds: they quantize, unpack and scale."""

# Power beyond what an idle GPU draws, of a kernel bound by memory, over that of one on tensor cores, at the same clock: a rough
# number. An H100 draws 140 W idle, some 350 W copying, and would draw 900 W or so multiplying, which its 700 W do not allow:
# (350 - 140) / (900 - 140). The range is from nothing to the same power.
_QUIET, _QUIET_RANGE = 0.3, (0.0, 1.0)
# A kernel that is timed alone: before each call the L2 is written over, which takes about as long.
BURST_SHARE = 0.5
# Power is clock times voltage squared, and the voltage falls with the clock.
_POWER = 1 / 3
_ROUNDS = 30


@dataclass(frozen=True, kw_only=True)
class Rest:
    """A step beside its Linears, in us, and what is known of the clock it ran at.

    Args:
        share: of the run's step, what was spent on tensor cores; None where the run's power was not at its limit.
        told: whether the run says if it was; else it is taken from the share.
        gap_us: idle time between two kernels that are queued.
        kernels: of a step, its Linears' too.
        launch_us: what the host needs for one of them.
    """

    attention: Part
    elementwise: Part
    idle: Part
    share: float | None
    told: bool = True
    gap_us: float = 0.0
    kernels: float = 0.0
    launch_us: Part = field(default_factory=Part)


@dataclass(frozen=True, kw_only=True)
class StepPrediction:
    """A step in us.

    Args:
        low_us, high_us: the range: what each part may be off by, independently of the others.
        parts: us of each of PARTS; they sum to `us`.
        clock: of the tensor cores, over that of the run that it is predicted from.
        shapes: us of the products of each shape, MxKxN, and their calls; they sum to the products.
    """

    us: float
    low_us: float
    high_us: float
    parts: dict[str, float]
    clock: float
    shapes: dict[str, tuple[float, int]]


def step_of(rest: Rest, costs: Iterable[tuple[int, dict[str, Any]]]) -> StepPrediction:
    """A step of so many calls of each cost (of `plan_prices.Predictor`) beside the rest."""
    known = list(costs)
    sums = _sums(rest, known)
    times = {name: each.us for name, each in sums.items()}
    clock = _clock(times, rest.share, _QUIET)
    parts = _at(times, clock)
    total = sum(parts.values())
    ends = [sum(_at(times, _clock(times, rest.share, each)).values()) for each in _QUIET_RANGE]
    high = [each.high - each.us for each in sums.values()] + [max(0.0, max(ends) - total)]
    low = [each.us - each.low for each in sums.values()] + [max(0.0, total - min(ends))]
    shown = {"products": parts["cores"] + parts["reading"], **{name: parts[name] for name in PARTS[1:]}}
    return StepPrediction(
        us=total,
        low_us=max(0.0, total - math.hypot(*low)),
        high_us=total + math.hypot(*high),
        parts=shown,
        clock=clock,
        shapes=_shapes(known, clock),
    )


def clock_of(before: float, after: float, quiet: float = _QUIET) -> float:
    """How much faster tensor cores run when their share of the time goes from one to another, at one power."""
    return float(((before + quiet * (1 - before)) / (after + quiet * (1 - after))) ** _POWER)


def _sums(rest: Rest, costs: Iterable[tuple[int, dict[str, Any]]]) -> dict[str, Part]:
    found, kernels = dict.fromkeys(("cores", "reading", "quantizing", "host"), Part()), 0
    for count, cost in costs:
        name = "cores" if cost["on_cores"] else "reading"
        found[name] += Part(*cost["product_us"]).times(count)
        found["quantizing"] += Part(*cost["moving_us"]).times(count)
        kernels += count * cost["kernels"]
        found["host"] += Part(*cost["host_us"]).times(count)
    host = found.pop("host")
    found |= {"attention": rest.attention, "elementwise": rest.elementwise}
    gaps = Part(*(kernels * rest.gap_us * each for each in (1.0, 0.5, 1.5)))
    host += rest.launch_us.times(rest.kernels + kernels)
    return found | {"idle": _waiting(host, found, rest.idle + gaps)}


def _shapes(costs: Iterable[tuple[int, dict[str, Any]]], clock: float) -> dict[str, tuple[float, int]]:
    found: dict[str, tuple[float, int]] = {}
    for count, cost in costs:
        name = str(Shape(cost["rows"], cost["in_features"], cost["out_features"]))
        us, calls = found.get(name, (0.0, 0))
        found[name] = us + count * cost["product_us"][0] / (clock if cost["on_cores"] else 1.0), calls + count
    return found


def _waiting(host: Part, busy: dict[str, Part], idle: Part) -> Part:
    """Idle time: as in the run, or what the host needs longer than the device."""
    work = sum(each.us for each in busy.values())
    return Part(max(idle.us, host.us - work), max(idle.low, host.low - work), max(idle.high, host.high - work))


def _at(times: dict[str, float], clock: float) -> dict[str, float]:
    return {name: us / clock if name in ("cores", "attention") else us for name, us in times.items()}


def _clock(times: dict[str, float], before: float | None, quiet: float) -> float:
    """The clock at which the share of the tensor cores is the one that it allows."""
    clock = 1.0
    if before is None:
        return clock
    # A product that is timed alone has the highest clock there is.
    highest = max(1.0, clock_of(before, BURST_SHARE, quiet))
    for _ in range(_ROUNDS):
        at = _at(times, clock)
        total = sum(at.values())
        clock = min(highest, clock_of(before, (at["cores"] + at["attention"]) / total if total else before, quiet))
    return clock

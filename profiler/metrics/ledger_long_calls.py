"""What the timed calls say about the untraced ones, which have fewer steps.

A host that launches no faster than the GPU works keeps ahead of it in a long call and not in one of two steps. There a step takes
longer than any of a timed call can: the timed calls are the ones that count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from profiler.metrics.power_limit import at_its_limit
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest

# By less than this a short call and a long one differ anyway: clocks, the first step.
_NOISE = 1.02
# At its power limit a GPU that works all the time has lower clocks than one that waits, and a long call gets hotter. One plan on
# two H100: 91.5 ms busy a step where the host was slow, 96.9 where it was not, and steps of timed calls take 2 to 3 % longer.
_BUSIER = 1.08


@dataclass(frozen=True)
class Spent:
    """Busy and idle ns, as traced."""

    busy: float
    idle: float


def bounded_ns(manifest: Manifest, untraced: int, call: Spent, steps: Sequence[Spent]) -> int:
    """The untraced time of the traced call, no more than the timed calls leave for it.

    Args:
        untraced: the median of the untraced calls.
        call: of the traced call, its steps among it.
        steps: its steps, in their order. The first starts on an empty GPU: a longer call has more of the others.
    """
    times, timed_steps = manifest.timed.get("iterations_ns"), manifest.timed.get("steps")
    if not times or not isinstance(timed_steps, int) or not 0 < len(steps) < timed_steps or call.idle <= 0:
        return untraced
    others = steps[1:] or steps
    more = (timed_steps - len(steps)) / len(others)
    busy, idle = (of + more * sum(others_of) for of, others_of in _both(call, others))
    whole = float(median(times))
    kept = (untraced - call.busy) / call.idle
    if kept <= 0 or busy + kept * idle <= _NOISE * whole:
        return untraced
    # The same share of all idle time is kept that a timed call has.
    return min(untraced, round(call.busy + max(0.0, (whole - busy) / idle) * call.idle))


def _both(call: Spent, others: Sequence[Spent]) -> list[tuple[float, list[float]]]:
    return [(call.busy, [each.busy for each in others]), (call.idle, [each.idle for each in others])]


def least_share(manifest: Manifest, call: Spent, bounded: int) -> float:
    """Of the idle time that the timed calls leave, the share that is idle in any case.

    Where these reached the power limit and the traced call, which waited, did not, their kernels may have been slower, and what
    looks idle may be that.
    """
    idle = bounded - call.busy
    if idle <= 0 or not at_its_limit(manifest, layout.TIMED) or at_its_limit(manifest, layout.TRACED):
        return 1.0
    return max(0.0, 1.0 - (_BUSIER - 1.0) * call.busy / idle)

"""What the timed calls say about the untraced ones, which have fewer steps.

A host that launches no faster than the GPU works keeps ahead of it in a long call and not in one of two steps. There a step takes
longer than any of a timed call can: the timed calls are the ones that count.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from profiler.rundir.manifest import Manifest

# By less than this a short call and a long one differ anyway: clocks, the first step.
_NOISE = 1.02


@dataclass(frozen=True)
class Spent:
    """Busy and idle ns, as traced."""

    busy: float
    idle: float


def bounded_ns(manifest: Manifest, untraced: int, call: Spent, steps: Spent, count: int) -> int:
    """The untraced time of the traced call, no more than the timed calls leave for it.

    Args:
        untraced: the median of the untraced calls.
        call: of the traced call, its steps among it.
        steps: of its `count` steps.
    """
    times, timed_steps = manifest.timed.get("iterations_ns"), manifest.timed.get("steps")
    if not times or not isinstance(timed_steps, int) or not 0 < count < timed_steps or call.idle <= 0:
        return untraced
    longer = timed_steps / count - 1
    busy, idle = call.busy + longer * steps.busy, call.idle + longer * steps.idle
    whole = float(median(times))
    kept = (untraced - call.busy) / call.idle
    if kept <= 0 or busy + kept * idle <= _NOISE * whole:
        return untraced
    # The same share of all idle time is kept that a timed call has.
    return min(untraced, round(call.busy + max(0.0, (whole - busy) / idle) * call.idle))

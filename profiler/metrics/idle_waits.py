"""What host waits cost: the idle time after one, until the host is ahead of the device again.

The wait itself overlaps a busy GPU. What it takes is the host's lead: without it every later launch would have come earlier by as
long as the host stood still while the device worked. So the gaps from the return of a wait belong to it, until a launch again
precedes the
end of the kernel before it, and never more of them than that lead: a device that was launch-bound before the wait stays so.
Recording
slows the host and with it shrinks the lead and stretches the gaps: `stretch` is how much longer the gaps are than untraced ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from profiler.metrics.gpu_timeline import HELD

_UNBOUNDED = 1 << 62


@dataclass(frozen=True)
class Charged:
    """Idle time laid to a wait: from `start` to `end`, ns; `wait` is the wait's own start."""

    start: int
    end: int
    wait: int


@dataclass
class _Open:
    start: int
    end: int
    lead: int


def with_lead(waits: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Waits (start_ns, end_ns, ...) with `lead_ns`: how long the device still worked while the host waited."""
    frontier = events.select(pl.col("start_ns").alias("begun_ns"), pl.col("end_ns").cum_max().alias("busy_until_ns"))
    joined = waits.sort("end_ns").join_asof(
        frontier, left_on="end_ns", right_on="begun_ns", strategy="backward", check_sortedness=False
    )
    lead = pl.min_horizontal("end_ns", "busy_until_ns") - pl.col("start_ns")
    return joined.with_columns(lead.clip(lower_bound=0).fill_null(0).alias("lead_ns")).drop("begun_ns", "busy_until_ns")


def charge(gaps: pl.DataFrame, waits: pl.DataFrame, stretch: float = 1.0) -> list[Charged]:
    """Lay the gaps of one launching thread to the waits of the same thread; disjoint, in order of time.

    Args:
        gaps: of `gpu_timeline.gaps`.
        waits: of `with_lead`, in order of their ends.
        stretch: traced over untraced idle time, >= 1; infinite where the untraced call has no idle time.
    """
    held = gaps.filter(pl.col("ended") == HELD).select("start_ns", "held_ns", "end_ns", pl.col("ahead_ns").fill_null(-1))
    waited = waits.select("start_ns", "end_ns", "lead_ns").iter_rows()
    pending = [_Open(start, end, round(min(lead * stretch, _UNBOUNDED)) if lead else 0) for start, end, lead in waited]
    charged: list[Charged] = []
    open_waits: list[_Open] = []
    following = 0
    for start, held_until, end, ahead in held.iter_rows():
        while following < len(pending) and pending[following].end <= held_until:
            open_waits.append(pending[following])
            following += 1
        open_waits = [wait for wait in open_waits if wait.lead and wait.end > ahead]
        charged += _charge_gap(start, end, open_waits)
    return charged


def _charge_gap(start: int, end: int, open_waits: list[_Open]) -> Iterator[Charged]:
    """The newest wait pays first: an older one lost its lead before."""
    clock = max(start, open_waits[-1].end) if open_waits else end
    for wait in reversed(open_waits):
        taken = min(wait.lead, end - clock)
        if taken > 0:
            yield Charged(clock, clock + taken, wait.start)
            wait.lead -= taken
            clock += taken

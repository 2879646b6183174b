"""What host waits cost: the idle time after one, until the host is ahead of the device again.

The wait itself overlaps a busy GPU. What it takes is the host's lead: without it every later launch would have come earlier by as
long as the host stood still while the device worked, and the gaps after it would have been shorter by so much, all together. So
they belong to it up to that time, whether or not a long kernel lets a single launch come early in between; a short wait in code
that was launch-bound anyway is not charged with all of it. Calls that ask the driver for memory, copies from pageable memory and
pauses in Python hold the host up in the same way. Recording slows the host, and with it shrinks the lead and stretches the gaps:
`stretch` is how much longer the gaps are than untraced ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from profiler.metrics.gpu_timeline import HELD


@dataclass(frozen=True)
class Charged:
    """Idle time laid to a wait: from `start` to `end`, ns; `wait` is the wait's own start."""

    start: int
    end: int
    wait: int


def with_lead(waits: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Waits (start_ns, end_ns, ...) in order of their ends with `lead_ns`: how long the device still worked while the host
    waited."""
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
        waits: of `with_lead`.
        stretch: traced over untraced idle time, >= 1; infinite where the untraced call has no idle time.
    """
    held = gaps.filter(pl.col("ended") == HELD).select("start_ns", "held_ns", "end_ns")
    pending = waits.select("start_ns", "end_ns", "lead_ns").rows()
    charged: list[Charged] = []
    lost, following = 0.0, 0
    for start, held_until, end in held.iter_rows():
        while following < len(pending) and pending[following][1] <= held_until:
            lead = pending[following][2]
            lost += lead * stretch if lead else 0
            following += 1
        wait, returned, _ = pending[following - 1] if following else (0, start, 0)
        begin = max(start, returned)
        taken = int(min(lost, end - begin))
        if taken > 0:
            charged.append(Charged(begin, begin + taken, wait))
            lost -= taken
    return charged

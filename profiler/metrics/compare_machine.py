"""What two runs differ by that is none of their options: how fast the host launches, and the clock of the GPU.

The clock is seen in attention: no scheme and no compile mode changes its kernels. At its power limit a GPU lowers its clock until
the work fits, the more the busier its tensor cores are: the same kernels take longer in a step that leaves other work out, and
less in one that waits for the host.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from profiler.metrics import classes
from profiler.metrics.compare_runs import TIME, Difference
from profiler.metrics.compare_time import WindowDifference
from profiler.metrics.host_speed import HostSpeed
from profiler.metrics.power_limit import at_its_limit
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest

# What makes kernels of one name do other work.
_OTHER_WORK = ("model", "ranks", "parallel")


@dataclass(frozen=True)
class Clock:
    """Attention kernels that both runs launch as often, in untraced ns of one repeat of a window.

    Args:
        spread_ns: what they vary by between the repeats of one run, or 0.
        limited: whether the base and the new run were at the power limit right after the traced call.
    """

    base_ns: int
    new_ns: int
    spread_ns: int
    limited: tuple[bool, bool]

    @property
    def ratio(self) -> float:
        """New over base: above 1 the clock was lower in the new run."""
        return self.new_ns / self.base_ns


@dataclass(frozen=True)
class Machine:
    """Of two runs: the speed of the host and the clock of the GPU; None where the traces do not tell."""

    host: HostSpeed | None = None
    clock: Clock | None = None


def clock(new: Manifest, base: Manifest, window: WindowDifference | None, differences: list[Difference]) -> Clock | None:
    """The clock of two runs of the same work; None where they share no attention kernels."""
    # A CPU's kernels differ by whatever else runs on it: they tell no clock.
    on_cpu = "cpu" in (new.environment.get("device"), base.environment.get("device"))
    if on_cpu or window is None or any(each.what in _OTHER_WORK or TIME in each.spoils for each in differences):
        return None
    same = window.kernels.filter(
        pl.col("label").str.starts_with(classes.ATTENTION)
        & ((pl.col("base_count") - pl.col("new_count")).abs() < 0.5)
        & (pl.col("base_ns") > 0)
        & (pl.col("new_ns") > 0)
    )
    if same.is_empty():
        return None
    sums = [int(same[name].fill_null(0).sum()) for name in ("base_ns", "new_ns", "spread_ns")]
    return Clock(sums[0], sums[1], sums[2], (at_its_limit(base, layout.TRACED), at_its_limit(new, layout.TRACED)))

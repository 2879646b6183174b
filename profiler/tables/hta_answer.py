"""What the process that runs Holistic Trace Analysis (HTA) and the one that started it agree on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TEMPORAL, OVERLAP, IDLE = "temporal_breakdown", "comm_comp_overlap", "idle_time_breakdown"
LAUNCHES, QUEUE, CRITICAL_PATH = "kernel_launch_stats", "queue_length", "critical_path"
# In the order in which they run: what may take longest comes last.
ANALYSES = {
    TEMPORAL: "temporal breakdown",
    OVERLAP: "communication-computation overlap",
    IDLE: "idle-time breakdown",
    LAUNCHES: "kernel launch statistics",
    QUEUE: "queue length",
    CRITICAL_PATH: "critical path",
}
# HTA's own defaults, us: calls that return later, and kernels that start later than that, are outliers.
SLOW_CALL_US, LATE_KERNEL_US = 50, 100
SETTINGS = {"HTA_DISABLE_NS_ROUNDING": "1", "include_last_profiler_step": True}
"""Without the first HTA rounds to whole microseconds; without the second it drops the last step."""


@dataclass
class Found:
    """One analysis of one rank.

    Args:
        rows: its numbers; names say the unit, shares are of 1. Empty where it failed.
        notes: what HTA warned of meanwhile.
        why: the reason why it failed; empty where it did not.
        seconds: how long it took.
        lasting: whether the same trace gives the same again; a limit that was reached is no property of it.
    """

    rank: int
    analysis: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    why: str = ""
    seconds: float = 0.0
    lasting: bool = True


def spoken(rank: int, analysis: str | None) -> str:
    """What is being done, in words; no analysis: the trace is read."""
    return f"HTA, rank {rank}: " + (ANALYSES[analysis] if analysis else "reading the trace")

"""Ledger rows that compiled code would not have: what a run pays where it is eager by mistake."""

from __future__ import annotations

from profiler.core.finding import Saving
from profiler.metrics.classes import COPY, NORM, POINTWISE, REDUCTION
from profiler.metrics.host_states import LAUNCH_EAGER, PYTHON_BETWEEN
from profiler.rules.context import Context, Row

# Compiled Flux on an H100 keeps a fifth of its pointwise time in fused kernels (73.6 ms a step become 15.6).
SAVING = Saving(share_low=0.5, share_high=0.8)


def fusable(row: Row) -> bool:
    """Kernels; what the copy engine moves would be moved anyway."""
    return row.kind == "busy" and row.label in (POINTWISE, NORM, REDUCTION, COPY) and not row.detail.startswith("Memcpy")


def eager_rows(context: Context, window: str) -> list[Row]:
    """Kernels that could be fused, and idle time under operators that are launched one by one."""
    return context.select(
        window, lambda row: fusable(row) or (row.kind == "idle" and row.label in (LAUNCH_EAGER, PYTHON_BETWEEN))
    )

"""How long a rank waits for another one in untraced time: as traced it waits for what recording costs the other, too."""

from __future__ import annotations

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.metrics.ledger import ledger
from profiler.metrics.ledger_segments import WAITING_FOR_RANK
from profiler.metrics.repeats import weight_of
from profiler.tables.run import Run


def priced_wait_us(run: Run, rank: int, for_rank: int, window: str) -> float | None:
    """Untraced us of one repeat of a window; None where no untraced time is known, or the rank's trace cannot be read."""
    try:
        of = ledger(run, window, rank)
    except UnreadableInput:
        return None
    if not of.pricing.calibrated:
        return None
    steps = run.manifest.timed.get("steps") or run.manifest.spec.get("steps") or 0
    rows = of.rows.with_columns(weight_of(of.windows, steps))
    mine = rows.filter((pl.col("label") == WAITING_FOR_RANK) & (pl.col("detail") == f"rank {for_rank}"))
    return float(mine.select((pl.col("priced_ns") * pl.col("weight")).sum()).item()) / 1e3

"""What is slow in a recorded step, as far as kernels and idle time tell."""

from __future__ import annotations

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.metrics import classes
from profiler.metrics.compare_time import window_ledgers
from profiler.metrics.kernel_architecture import NAMES, architecture
from profiler.metrics.windows import STEP
from profiler.tables.run import Run

# Shares of a step below this explain nothing.
_WORTH = 0.05


def slow_parts(run: Run) -> list[tuple[str, bool]]:
    """GEMM kernels of an older generation, quantization kernels, idle time: in ms and share of a step; none without a trace."""
    try:
        step = window_ledgers(run).get(STEP)
    except UnreadableInput:
        return []
    if step is None:
        return []
    rows = step.rows.with_columns((pl.col("priced_ns") * pl.col("weight") / 1e6).alias("ms"))
    total = float(rows["ms"].sum())
    found = [_old(rows, run), _labelled(rows, classes.QUANTIZE), _idle(rows)]
    return [(f"{what}: {ms:.1f} ms of a step's {total:.1f}", True) for what, ms in found if total and ms / total >= _WORTH]


def _old(rows: pl.DataFrame, run: Run) -> tuple[str, float]:
    major = ((run.manifest.environment.get("gpu") or {}).get("capability") or [None])[0]
    gemms = rows.filter((pl.col("kind") == "busy") & pl.col("label").str.starts_with(classes.GEMM))
    if not isinstance(major, int) or gemms.is_empty():
        return "", 0.0
    made_for = [architecture(name) or major for name in gemms["detail"]]
    old = gemms.filter(pl.Series([each < major for each in made_for]))
    name = NAMES.get(min(made_for), f"sm{min(made_for)}0")
    return f"GEMMs run on {name} kernels on this {NAMES.get(major, f'sm{major}0')} GPU", float(old["ms"].sum())


def _labelled(rows: pl.DataFrame, label: str) -> tuple[str, float]:
    named = rows.filter((pl.col("kind") == "busy") & (pl.col("label") == label))
    return "kernels that only quantize", float(named["ms"].sum())


def _idle(rows: pl.DataFrame) -> tuple[str, float]:
    return "the GPU is idle", float(rows.filter(pl.col("kind") == "idle")["ms"].sum())

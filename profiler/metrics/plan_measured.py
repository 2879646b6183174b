"""An untraced step of a run, cut as predictions are: to hold them against."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.core.product import Shape
from profiler.metrics import classes
from profiler.metrics.compare_time import window_ledgers
from profiler.metrics.ledger_segments import BUSY
from profiler.metrics.roofline import roofline
from profiler.metrics.windows import STEP
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

_FACTORS = re.compile(r"(\d+)×(\d+) · (\d+)×(\d+)")
PARTS = {"products": ("products",), "attention": ("attention",), "kernels": ("elementwise", "quantizing"), "idle": ("idle",)}
"""What a step is compared by, and the parts of a prediction in it. A trace does not tell elementwise kernels from what was fused
with them to quantize: both are `kernels`."""


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """Untraced ms of a step.

    Args:
        linears_ms: products, and the kernels that only quantize.
        parts_ms: by PARTS; they sum to `step_ms`.
        waiting: the cause that most of the idle time was laid to; empty where there was none.
        shapes_ms: products of two matrices by shape, MxKxN, as far as the trace tells their shapes.
        timed_ms: a step of the timed calls, by how much longer they are than the short untraced ones; None where one is missing.
    """

    step_ms: float
    linears_ms: float
    parts_ms: dict[str, float]
    waiting: str
    shapes_ms: dict[str, float]
    timed_ms: float | None = None


def measured_step(run: Run) -> MeasuredStep | None:
    """The step of a run; None without a trace of steps on a GPU."""
    try:
        step = window_ledgers(run).get(STEP)
    except UnreadableInput:
        return None
    if step is None or step.ledger.source != "gpu":
        return None
    rows = step.rows.select("kind", "label", (pl.col("priced_ns") * pl.col("weight") / 1e6).alias("ms"))
    rows = rows.group_by("kind", "label", maintain_order=True).agg(pl.col("ms").sum())
    busy = {label: ms for kind, label, ms in rows.iter_rows() if kind == BUSY}
    idle = {label: ms for kind, label, ms in rows.iter_rows() if kind != BUSY}
    parts = dict.fromkeys(PARTS, 0.0) | {"idle": sum(idle.values())}
    for label, ms in busy.items():
        parts[_part(label)] += ms
    quantizing = sum(ms for label, ms in busy.items() if label.startswith(classes.QUANTIZE))
    return MeasuredStep(
        step_ms=sum(parts.values()),
        linears_ms=parts["products"] + quantizing,
        parts_ms=parts,
        waiting=max(idle, key=lambda each: idle[each], default=""),
        shapes_ms=_shapes(roofline(run, step.ledger).calls),
        timed_ms=_timed_ms(run.manifest),
    )


def _timed_ms(manifest: Manifest) -> float | None:
    calls, short = manifest.timed.get("iterations_ns") or [], manifest.untraced.get("dur_ns")
    steps, few = manifest.timed.get("steps") or 0, manifest.untraced.get("steps") or 0
    if not calls or not short or steps <= few:
        return None
    return float(statistics.median(calls) - short) / (steps - few) / 1e6


def _shapes(calls: pl.DataFrame) -> dict[str, float]:
    """A weight's two sizes may stand either way round."""
    found: dict[str, float] = {}
    products = calls.filter(pl.col("class").str.starts_with(classes.GEMM))
    for text, ns in products.select("shape", "measured_ns").iter_rows():
        match = _FACTORS.fullmatch(text)
        if match is None:
            continue
        m, k, first, second = map(int, match.groups())
        if k in (first, second):
            name = str(Shape(m, k, second if first == k else first))
            found[name] = found.get(name, 0.0) + ns / 1e6
    return found


def _part(label: str) -> str:
    if label.startswith(classes.GEMM):
        return "products"
    return "attention" if label in (classes.ATTENTION, classes.CONVOLUTION) else "kernels"

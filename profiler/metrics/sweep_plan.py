"""How right a plan's predictions were: each scheme's time, memory and SQNR beside what the sweep measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.core.units import GIB
from profiler.metrics import classes
from profiler.metrics.compare_time import window_ledgers
from profiler.metrics.windows import STEP
from profiler.tables.plan import BESIDE, PlanTables, Prediction, read_predictions
from profiler.tables.run import Run
from profiler.tables.sweep import CellRun, SweepTables

THIS_PLAN = "this plan"
ROWS = {
    "id": pl.Utf8,
    "predicted_as": pl.Utf8,
    **{
        f"{who}{name}": pl.Float64
        for name in ("linears_ms", "step_ms", "model_memory_gib", "sqnr_db")
        for who in ("predicted_", "measured_")
    },
    **{f"{name}_error": pl.Float64 for name in ("linears", "step", "model_memory")},
}
"""Columns of `PlanCheck.rows`. Errors are (predicted - measured) / measured. `linears_ms` are GEMMs and the kernels that only
quantize in an untraced step: quantizing that was fused into other kernels is not in the measured ones. `step_ms` is predicted
only by a plan from a recording. SQNR is of the first transformer output."""

_WORK = ("model", "batch", "height", "width", "frames", "fuse_qkv")
_APART = 1.05
_LINEARS = (classes.GEMM, classes.QUANTIZE)


@dataclass(frozen=True)
class PlanCheck:
    """Predictions beside measurements.

    Attributes:
        path: the plan's file.
        source: what it was predicted from: a run, or measurements of single layers.
        rows: one row a cell that the plan says something about, columns as `ROWS`.
        left_out: by cell, why the plan says nothing about it.
    """

    path: Path
    source: str
    rows: pl.DataFrame
    left_out: dict[str, str]

    @property
    def same_order(self) -> tuple[int, int]:
        """Of the pairs whose Linears differ by more than 5 %: in how many the one predicted to be faster is; and how many."""
        known = self.rows.filter(pl.col("predicted_linears_ms").is_not_null() & pl.col("measured_linears_ms").is_not_null())
        times = known.select("predicted_linears_ms", "measured_linears_ms").rows()
        pairs = [(a, b) for index, a in enumerate(times) for b in times[:index] if max(a[1], b[1]) > min(a[1], b[1]) * _APART]
        return sum((a[0] < b[0]) == (a[1] < b[1]) for a, b in pairs), len(pairs)


def plan_check(tables: SweepTables, rows: Sequence[dict[str, Any]], plan: Path | None = None) -> PlanCheck | None:
    """A plan's predictions beside the cells; None where no plan is named and none lies in the sweep's folder.

    Args:
        plan: the plan's file; None for `plan.json` in the sweep's folder.

    Raises:
        UnreadableInput: a file that predicts nothing.
    """
    path = plan or tables.folder / BESIDE
    if plan is None and not path.is_file():
        return None
    found = read_predictions(path)
    checked, left_out = [], {}
    for row, each in zip(rows, tables.cells, strict=True):
        named, why = _prediction(found, row, each)
        if named is None:
            left_out[str(row["id"])] = why
        else:
            checked.append(_beside(row, each, *named))
    source = str(found.source.get("run") or "layers measured one by one")
    return PlanCheck(path, source, pl.DataFrame(checked, schema=ROWS), left_out)


def _prediction(plan: PlanTables, row: dict[str, Any], each: CellRun) -> tuple[tuple[str, Prediction] | None, str]:
    if row["status"] != "ok" or each.run is None:
        return None, f"it ended {row['status']}"
    spec = each.run.manifest.spec
    for name in _WORK:
        if spec.get(name) != plan.spec.get(name):
            return None, f"{name} is {plan.spec.get(name)} in the plan and {spec.get(name)} here"
    if (spec.get("compile") == "none") != (plan.spec.get("compile") == "none"):
        return None, f"the plan is for --compile {plan.spec.get('compile')}, this is {spec.get('compile')}"
    applied = {linear.get("module"): linear.get("scheme") for linear in each.run.manifest.applied.get("linears") or []}
    planned = {name: "left" if scheme is None else scheme for name, scheme in plan.layers.items()}
    if planned and {name: applied.get(name) for name in planned} == planned:
        return (THIS_PLAN, plan.predicted), ""
    single = plan.singles.get(str(row["scheme"]))
    return ((str(row["scheme"]), single), "") if single else (None, f"the plan predicts nothing of {row['scheme']}")


def _beside(row: dict[str, Any], each: CellRun, name: str, said: Prediction) -> dict[str, Any]:
    linears, step = measured_step(each.run) if each.run else (None, None)
    own = {"linears": linears, "step": step, "model_memory": row["model_memory_gib"]}
    theirs = {"linears": said.us / 1e3, "step": None if said.step_us is None else said.step_us / 1e3}
    theirs |= {"model_memory": said.model_bytes / GIB}
    found: dict[str, Any] = {"id": row["id"], "predicted_as": name}
    found |= {"predicted_sqnr_db": said.sqnr_db, "measured_sqnr_db": row.get("sqnr_transformer_db")}
    for quantity, unit in (("linears", "ms"), ("step", "ms"), ("model_memory", "gib")):
        mine, predicted = own[quantity], theirs[quantity]
        found |= {f"predicted_{quantity}_{unit}": predicted, f"measured_{quantity}_{unit}": mine}
        found[f"{quantity}_error"] = predicted / mine - 1 if mine and predicted is not None else None
    return found


def measured_step(run: Run) -> tuple[float | None, float | None]:
    """Untraced ms of a step: its products with the kernels that only quantize, and all of it; None without a trace of steps."""
    try:
        step = window_ledgers(run).get(STEP)
    except UnreadableInput:
        return None, None
    if step is None or step.ledger.source != "gpu":
        return None, None
    rows = step.rows.with_columns((pl.col("priced_ns") * pl.col("weight") / 1e6).alias("ms"))
    linear = pl.any_horizontal(pl.col("label").str.starts_with(each) for each in _LINEARS) & (pl.col("kind") == "busy")
    return float(rows.filter(linear)["ms"].sum()), float(rows["ms"].sum())

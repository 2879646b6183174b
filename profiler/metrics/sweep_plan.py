"""How right a plan's predictions were: each scheme's time, memory and SQNR beside what the sweep measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from profiler.core.units import GIB
from profiler.metrics.plan_measured import PARTS, MeasuredStep, measured_step
from profiler.metrics.plan_prices import UNKEPT, UNTUNED
from profiler.metrics.plan_products import SPARSE_INT8, TUNED_SCHEME
from profiler.rundir.manifest import Manifest
from profiler.tables.plan import BESIDE, PlanTables, Prediction, read_predictions
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
    **{f"predicted_step_{end}_ms": pl.Float64 for end in ("low", "high")},
    **{f"{who}{name}_ms": pl.Float64 for name in PARTS for who in ("predicted_", "measured_")},
    "timed_step_ms": pl.Float64,
    "waiting": pl.Utf8,
}
"""Columns of `PlanCheck.rows`. Errors are (predicted - measured) / measured. `linears_ms` are GEMMs of an untraced step and,
where the plan does not tell these from quantizing, kernels that only quantize. `step_ms` is predicted only by a plan from a
recording, within `step_low_ms` to `step_high_ms`; products, attention, kernels and idle time are its parts. `timed_step_ms`
is a step of the timed calls, without their first steps, decoding and text. `waiting` is what most of the measured idle time was
laid to. SQNR is of the first transformer output; it and memory are not measured where another part is quantized too."""

SHAPES = {"id": pl.Utf8, "shape": pl.Utf8, "calls": pl.Int64, "predicted_ms": pl.Float64, "measured_ms": pl.Float64}
"""Columns of `PlanCheck.shapes`: all products of a shape (MxKxN) in a step, and how many calls are predicted."""

_WORK = ("model", "batch", "height", "width", "frames", "fuse_qkv", "parallel")
_APART = 1.05
# Quantized beside the transformer: these are in the model's memory and in what the transformer is given, not in the plan.
_BESIDE = ("quantize_vae", "quantize_text_encoder")


@dataclass(frozen=True)
class PlanCheck:
    """Predictions beside measurements.

    Attributes:
        path: the plan's file.
        source: what it was predicted from: a run, or measurements of single layers.
        rows: one row a cell that the plan says something about, columns as `ROWS`.
        left_out: by cell, why the plan says nothing about it.
        shapes: one row a cell and shape of product that both know, columns as `SHAPES`.
    """

    path: Path
    source: str
    rows: pl.DataFrame
    left_out: dict[str, str]
    shapes: pl.DataFrame

    @property
    def within(self) -> tuple[int, int]:
        """Of the steps that were predicted with a range: how many lie in it, and how many there are."""
        ends = self.rows.select("measured_step_ms", "predicted_step_low_ms", "predicted_step_high_ms").drop_nulls()
        inside = ends.filter(pl.col("measured_step_ms").is_between("predicted_step_low_ms", "predicted_step_high_ms"))
        return inside.height, ends.height

    @property
    def same_order(self) -> tuple[int, int]:
        """Of the pairs that differ by more than 5 %: in how many the one predicted to be faster is; and how many there are.

        By their steps, or by their Linears where the plan knows no steps.
        """
        name = "linears" if self.rows["predicted_step_ms"].null_count() else "step"
        times = self.rows.select(f"predicted_{name}_ms", f"measured_{name}_ms").drop_nulls().rows()
        pairs = [(a, b) for index, a in enumerate(times) for b in times[:index] if max(a[1], b[1]) > min(a[1], b[1]) * _APART]
        return sum((a[0] - b[0]) * (a[1] - b[1]) > 0 for a, b in pairs), len(pairs)


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
    checked, left_out, shapes = [], {}, []
    for row, each in zip(rows, tables.cells, strict=True):
        named, why = _prediction(found, row, each)
        if named is None:
            left_out[str(row["id"])] = why
            continue
        measured = measured_step(each.run) if each.run else None
        checked.append(_beside(row if _alone(found, each) else row | _NOT_ALONE, measured, *named))
        shapes += _by_shape(str(row["id"]), named[1], measured)
    source = str(found.source.get("run") or "layers measured one by one")
    return PlanCheck(
        path, source, pl.DataFrame(checked, schema=ROWS), left_out, pl.DataFrame(shapes, schema=SHAPES, orient="row")
    )


_NOT_ALONE = {"model_memory_gib": None, "sqnr_transformer_db": None}


def _alone(plan: PlanTables, each: CellRun) -> bool:
    """Whether nothing is quantized beside the transformer that the plan does not have."""
    spec = each.run.manifest.spec if each.run else {}
    return all(bool(spec.get(name)) == bool(plan.spec.get(name)) for name in _BESIDE)


def _by_shape(cell: str, said: Prediction, measured: MeasuredStep | None) -> list[tuple[Any, ...]]:
    known = measured.shapes_ms if measured else {}
    return [(cell, name, each.calls, each.us / 1e3, known[name]) for name, each in said.shapes.items() if name in known]


def _prediction(plan: PlanTables, row: dict[str, Any], each: CellRun) -> tuple[tuple[str, Prediction] | None, str]:
    if row["status"] != "ok" or each.run is None:
        return None, f"it ended {row['status']}"
    other = _other_work(plan, each.run.manifest)
    if other:
        return None, other
    applied = {linear.get("module"): linear.get("scheme") for linear in each.run.manifest.applied.get("linears") or []}
    planned = {name: "left" if scheme is None else scheme for name, scheme in plan.layers.items()}
    if planned and {name: applied.get(name) for name in planned} == planned:
        return (THIS_PLAN, plan.predicted), ""
    name = _name(str(row["scheme"]), each, plan)
    single = plan.singles.get(name)
    return ((name, single), "") if single else (None, f"the plan predicts nothing of {row['scheme']}")


def _other_work(plan: PlanTables, manifest: Manifest) -> str:
    """What a run does otherwise than the plan has it; empty where nothing that changes a step."""
    spec, wanted = manifest.spec, plan.spec
    if spec.get("parallel") and not wanted.get("parallel"):
        return "the plan is for one rank, this ran on several"
    for name in _WORK:
        if spec.get(name) != wanted.get(name):
            return f"{name} is {wanted.get(name)} in the plan and {spec.get(name)} here"
    if _guided(spec) != _guided(wanted):
        return f"guidance is {wanted.get('guidance')} in the plan and {spec.get('guidance')} here"
    if spec.get("offload") not in (None, "none"):
        return f"the plan is for weights that stay on the device, this is --offload {spec['offload']}"
    if (spec.get("compile") == "none") != (wanted.get("compile") == "none"):
        return f"the plan is for --compile {wanted.get('compile')}, this is {spec.get('compile')}"
    planned_gpu, gpu = plan.device.get("name"), (manifest.environment.get("gpu") or {}).get("name")
    other = planned_gpu and gpu and planned_gpu != gpu
    return f"the plan is for one {planned_gpu}, this ran on {gpu}" if other else ""


def _guided(spec: Mapping[str, Any]) -> bool:
    """Whether a video's step does both halves of the guidance: twice the rows."""
    guidance = spec.get("guidance")
    return spec.get("frames") is not None and (not isinstance(guidance, int | float) or guidance > 1)


def _name(scheme: str, each: CellRun, plan: PlanTables) -> str:
    """What the plan calls a cell's scheme as it ran: int8dq with tuned kernels or not, sparsify with kept plans or not."""
    applied = each.run.manifest.applied if each.run else {}
    tuned = any(linear.get("kernel") for linear in applied.get("linears") or [] if linear.get("scheme") == TUNED_SCHEME)
    kept = [product.get("kept") for product in applied.get("sparse_products") or [] if isinstance(product, dict)]
    other = {TUNED_SCHEME: "" if tuned else UNTUNED, SPARSE_INT8: "" if kept and all(kept) else UNKEPT}.get(scheme)
    return other if other and other in plan.singles else scheme


def _beside(row: dict[str, Any], measured: MeasuredStep | None, name: str, said: Prediction) -> dict[str, Any]:
    own = {"linears": measured and _measured_linears_ms(said, measured), "step": measured and measured.step_ms}
    own |= {"model_memory": row["model_memory_gib"]}
    theirs: dict[str, float | None] = {"linears": _linears_ms(said), "step": None if said.step_us is None else said.step_us / 1e3}
    theirs |= {"model_memory": said.model_bytes / GIB}
    found: dict[str, Any] = {"id": row["id"], "predicted_as": name}
    found |= {"predicted_sqnr_db": said.sqnr_db, "measured_sqnr_db": row.get("sqnr_transformer_db")}
    for quantity, unit in (("linears", "ms"), ("step", "ms"), ("model_memory", "gib")):
        mine, predicted = own[quantity], theirs[quantity]
        found |= {f"predicted_{quantity}_{unit}": predicted, f"measured_{quantity}_{unit}": mine}
        found[f"{quantity}_error"] = predicted / mine - 1 if mine and predicted is not None else None
    return found | _parts(said, measured)


def _linears_ms(said: Prediction) -> float:
    """The products at the clock of the predicted step, where there is one; else all that the Linears take."""
    return said.parts_us.get("products", said.us) / 1e3


def _measured_linears_ms(said: Prediction, measured: MeasuredStep) -> float:
    return measured.parts_ms["products"] if "products" in said.parts_us else measured.linears_ms


def _parts(said: Prediction, measured: MeasuredStep | None) -> dict[str, Any]:
    ends = {"low": said.step_low_us, "high": said.step_high_us}
    found: dict[str, Any] = {f"predicted_step_{name}_ms": None if us is None else us / 1e3 for name, us in ends.items()}
    for name, summed in PARTS.items():
        us = sum(said.parts_us.get(each, 0.0) for each in summed)
        found[f"predicted_{name}_ms"] = us / 1e3 if said.parts_us else None
        found[f"measured_{name}_ms"] = measured.parts_ms[name] if measured else None
    return found | {"timed_step_ms": measured and measured.timed_ms, "waiting": measured and measured.waiting}

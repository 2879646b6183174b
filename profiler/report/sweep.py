"""A sweep's answer as plain data: the cells, the Pareto front, what to ship, the seed beside it. The keys are stable.

`{"run", "status", "model", "preset", "steps", "cells": [{"spec", "status", "run", ...columns, ...what sweep.json says}],
"pareto": [ids], "groups", "recommended": [{"what", "cell", "text", "work"}], "not_known": [text], "against_seed", "plan"}`.
Times in seconds, sizes in GiB, ratios in dB; a level that is no number is null, and `quality_note` says what it is.
`extrapolated` is null, or from what a time was extrapolated; `against_seed` and `plan` are null where there is none.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from profiler.metrics.sweep import SweepResult, sweep_result
from profiler.metrics.sweep_plan import PlanCheck
from profiler.metrics.sweep_seed import SeedComparison
from profiler.metrics.sweep_seed_causes import THRESHOLDS
from profiler.metrics.sweep_seed_facts import SOFTWARE
from profiler.tables.sweep import CellRun


def sweep_data(
    folder: Path | str,
    base: str | Path | None = None,
    against: str | None = None,
    max_memory_gib: float | None = None,
    min_sqnr_db: float | None = None,
    plan: Path | None = None,
) -> dict[str, Any]:
    """Everything that is said about a sweep, JSON-ready; arguments and errors as `sweep_result`'s."""
    return result_data(sweep_result(folder, base, against, max_memory_gib, min_sqnr_db, plan))


def result_data(result: SweepResult) -> dict[str, Any]:
    """The same from a result that is there already."""
    file = result.tables.file
    return {
        "run": str(result.tables.folder),
        "status": result.tables.status or None,
        "model": file.model if file else None,
        "preset": file.preset if file else None,
        "steps": file.steps if file else None,
        "cells": [_cell(each, row) for each, row in zip(result.tables.cells, result.cells.iter_rows(named=True), strict=True)],
        "pareto": result.pareto,
        "groups": [asdict(each) for each in result.groups],
        "recommended": [
            {"what": each.what, "cell": each.cell, "text": each.text, "work": each.work} for each in result.recommended
        ],
        "not_known": result.not_known,
        "against_seed": _seed(result.against_seed) if result.against_seed else None,
        "plan": _plan(result.plan) if result.plan else None,
    }


def _cell(each: CellRun, row: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = msgspec.to_builtins(each.cell)
    spec = each.run.manifest.spec if each.run else each.cell.spec
    return own | _finite(row) | {"spec": spec, "extrapolated": own["extrapolated"]}


def _seed(found: SeedComparison) -> dict[str, Any]:
    rows = [
        _finite(row) | {"causes": [asdict(cause) for cause in found.causes.get(row["id"], [])]}
        for row in found.rows.iter_rows(named=True)
    ]
    why = [{"cell": name, "why": why} for name, why in found.unmatched.items()]
    return {
        "rows": rows,
        "unmatched": why,
        "seed_rows": found.seed_rows,
        "measured": found.measured,
        "thresholds": THRESHOLDS,
        "software": SOFTWARE,
    }


def _plan(found: PlanCheck) -> dict[str, Any]:
    rows = [_finite(row) for row in found.rows.iter_rows(named=True)]
    where = {"path": str(found.path), "source": found.source}
    right = {"same_order": list(found.same_order), "within": list(found.within), "shapes": found.shapes.to_dicts()}
    return where | {"rows": rows, "left_out": found.left_out} | right


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}

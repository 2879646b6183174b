"""The answer of a sweep, from its run directories alone: the table, the Pareto front, which cell to ship, the seed beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from profiler.core.errors import UsageError
from profiler.metrics.sweep_advice import Advice, Budget, advise, not_known
from profiler.metrics.sweep_cells import cell_rows, found_compiled, frame_of
from profiler.metrics.sweep_front import Group, groups
from profiler.metrics.sweep_plan import PlanCheck, plan_check
from profiler.metrics.sweep_quality import add_quality
from profiler.metrics.sweep_seed import SeedComparison, against_seed
from profiler.tables.sweep import SweepTables, open_sweep

AGAINST = ("seed",)


@dataclass(frozen=True)
class SweepResult:
    """A sweep, answered.

    Attributes:
        tables: what was read.
        cells: one row a cell, columns as `sweep_cells.COLUMNS`.
        groups: finished cells by the work that they do, each with its Pareto front.
        recommended: what to ship, in words.
        not_known: what the recommendation does not rest on, in words.
        against_seed: None where it was not asked.
        plan: how right a plan's predictions were; None where there is no plan.
    """

    tables: SweepTables
    cells: pl.DataFrame
    groups: list[Group]
    recommended: list[Advice]
    not_known: list[str]
    against_seed: SeedComparison | None
    plan: PlanCheck | None = None

    @property
    def pareto(self) -> list[str]:
        """Ids of the cells that no other cell of the same work beats in time, memory and SQNR at once."""
        return [name for group in self.groups for name in group.front]


def sweep_result(
    folder: Path | str,
    base: str | Path | None = None,
    against: str | None = None,
    max_memory_gib: float | None = None,
    min_sqnr_db: float | None = None,
    plan: Path | None = None,
) -> SweepResult:
    """The answer of a sweep's folder, finished or not, or of a plain folder of runs.

    Args:
        base: the cell (id) or run directory that quality is measured against; None for the plainest bf16 cell of the same work.
        against: "seed" to hold the cells against the seed's tables.
        max_memory_gib, min_sqnr_db: the budget of the recommendation.
        plan: a plan's file to hold against the cells; None for `plan.json` in the folder, where there is one.

    Raises:
        UnreadableInput: no folder, no runs in it, or a `sweep.json` or plan that cannot be read.
        UsageError: an unknown `base` or `against`.
    """
    if against is not None and against not in AGAINST:
        raise UsageError(f"--against {against} is not known", f"choose from: {', '.join(AGAINST)}")
    tables = open_sweep(Path(folder))
    rows = cell_rows(tables)
    add_quality(rows, tables.cells, base)
    ranked = groups(rows)
    front = {name for group in ranked for name in group.front}
    for row in rows:
        row["pareto"] = row["id"] in front
    specs = [each.run.manifest.spec for each in tables.cells if each.run]
    return SweepResult(
        tables=tables,
        cells=frame_of(rows),
        groups=ranked,
        recommended=advise(ranked, rows, Budget(max_memory_gib, min_sqnr_db)),
        not_known=not_known(rows, ranked, specs, found_compiled(tables)),
        against_seed=against_seed(tables, rows) if against else None,
        plan=plan_check(tables, rows, plan),
    )

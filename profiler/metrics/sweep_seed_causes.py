"""Why a cell and the seed's row differ, from what both say: each difference over its threshold gets its causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profiler.metrics import sweep_seed_memory, sweep_seed_time
from profiler.tables.sweep import CellRun

MODEL, INFERENCE, TIME = "model_memory", "inference_memory", "time"
THRESHOLDS = {MODEL: 0.02, INFERENCE: 0.10, TIME: 0.10}
"""Differences above these are explained; model memory is held to 2 %, where the same layers are quantized."""

NOTHING = "not explained by anything measured"


@dataclass(frozen=True)
class Cause:
    """One reason for one difference.

    Args:
        quantity: `model_memory`, `inference_memory` or `time`.
        text: a sentence with the numbers that it rests on.
        measured: whether numbers of the runs show it; False for a setting that differs and may be the reason.
    """

    quantity: str
    text: str
    measured: bool


@dataclass(frozen=True)
class Pair:
    """A cell and the seed's row, with all that may explain why they differ.

    Args:
        row, seed: the cell's row and the seed's.
        each: the cell's run.
        rows, seeds: all cells and all rows of the seed: counterparts that differ in one option.
        runs: the cells' runs by id.
    """

    row: dict[str, Any]
    seed: dict[str, Any]
    each: CellRun
    rows: Sequence[dict[str, Any]]
    seeds: Sequence[dict[str, Any]]
    runs: Mapping[str, CellRun]


_SOURCES: dict[str, tuple[str, Callable[[Any], list[tuple[str, bool]]]]] = {
    MODEL: ("model_memory_gib", sweep_seed_memory.model),
    INFERENCE: ("inference_memory_gib", sweep_seed_memory.inference),
    TIME: ("time_s", sweep_seed_time.time),
}


def causes(
    row: dict[str, Any],
    seed: dict[str, Any],
    each: CellRun,
    rows: Sequence[dict[str, Any]],
    seeds: Sequence[dict[str, Any]],
    runs: Mapping[str, CellRun],
) -> list[Cause]:
    """The causes of every difference above its threshold; what is measured first."""
    pair = Pair(row, seed, each, rows, seeds, runs)
    found: list[Cause] = []
    for quantity, (column, explain) in _SOURCES.items():
        mine, theirs = row.get(column), seed[column]
        if mine is None or not theirs or abs(mine / theirs - 1) <= THRESHOLDS[quantity]:
            continue
        said = sorted(explain(pair), key=lambda cause: not cause[1])
        if not any(measured for _, measured in said):
            found.append(Cause(quantity, NOTHING, True))
        found += [Cause(quantity, text, measured) for text, measured in said]
    return found

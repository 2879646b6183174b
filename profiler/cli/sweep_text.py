"""What a sweep prints: its cells, one a line."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

from profiler.cli.output import emit
from profiler.core.units import format_ms
from profiler.sweep.cells import Cell
from profiler.sweep.folder import read_cells


def print_sweep(folder: Path, as_json: bool) -> dict[str, int]:
    """Print a sweep's folder; how many cells have each status."""
    cells = read_cells(folder)
    text = f"{folder}\n{cells_text(cells)}"
    emit(as_json, {"run": str(folder), "cells": [each.to_dict() for each in cells]}, lambda: text, _next(folder, cells))
    return dict(Counter(each.status for each in cells))


def cells_text(cells: list[Cell]) -> str:
    """One line a cell: id, status, seconds, what was extrapolated, and why it is not ok."""
    width = max((len(each.id) for each in cells), default=0)
    return "\n".join(_line(each, width) for each in cells)


def _line(cell: Cell, width: int) -> str:
    seconds = "" if cell.seconds is None else f"{cell.seconds:.1f} s"
    parts = [f"{cell.id:<{width}}", f"{cell.status:<11}", f"{seconds:>9}", _extrapolated(cell), cell.reason or ""]
    return "  ".join(each for each in parts if each).rstrip()


def _extrapolated(cell: Cell) -> str:
    found = cell.extrapolated
    if found is None:
        return ""
    few, more = found["from_steps"]
    return f"{format_ms(found['fixed_ms'])} + {format_ms(found['step_ms'])} a step (extrapolated from {few} and {more} steps)"


def _next(folder: Path, cells: list[Cell]) -> str:
    best = next((each for each in cells if each.run and each.status == "ok"), None)
    return f"diffuscope show {shlex.quote(str(folder / best.run if best and best.run else folder))}"

"""What `sweep --dry-run` prints: the cells in their order, one a line."""

from __future__ import annotations

from profiler.sweep.cells import Cell
from profiler.sweep.commands import record_command


def cells_text(cells: list[Cell]) -> str:
    """One line a cell: id, status, and why it cannot be, or what would record it by itself."""
    width = max((len(each.id) for each in cells), default=0)
    return "\n".join(f"{each.id:<{width}}  {each.status:<8}  {each.reason or record_command(each.spec)}" for each in cells)

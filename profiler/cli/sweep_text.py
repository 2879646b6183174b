"""What `sweep` prints without the analysis side: the cells to come, and those that ended where no table can be made."""

from __future__ import annotations

from profiler.sweep.cells import Cell
from profiler.sweep.commands import record_command
from profiler.sweep.times import CallTime


def cells_text(cells: list[Cell]) -> str:
    """One line a cell: id, status, and why it cannot be, or what would record it by itself."""
    width = max((len(each.id) for each in cells), default=0)
    return "\n".join(f"{each.id:<{width}}  {each.status:<8}  {each.reason or record_command(each.spec)}" for each in cells)


def results_text(cells: list[Cell], times: list[CallTime | None], note: str) -> str:
    """A row a cell: how it ended, its seconds, the time of a call, and why it did not end well; below, the note.

    Args:
        times: one for each cell, None where there is none.
    """
    rows = [("cell", "status", "seconds", "a call", "")]
    for cell, time in zip(cells, times, strict=True):
        seconds = "-" if cell.seconds is None else f"{cell.seconds:.1f}"
        rows.append((cell.id, cell.status, seconds, str(time or "-"), cell.reason or ""))
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}  {d:>{wide[3]}}  {e}".rstrip() for a, b, c, d, e in rows]
    return "\n".join([*lines, "", f"note: {note}"])

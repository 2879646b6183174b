"""How long a call of a cell takes, from its run's manifest alone: what is known of it where no table can be made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from profiler.core.errors import UnreadableInput
from profiler.core.units import format_ms
from profiler.rundir.reader import read_manifest
from profiler.rundir.summary import timed_ms
from profiler.sweep.cells import OK, Cell
from profiler.sweep.extrapolate import call_ms


@dataclass(frozen=True)
class CallTime:
    """Milliseconds of one call; `error_ms` is what an extrapolated one may be off by, None for one that was timed."""

    time_ms: float
    error_ms: float | None = None

    def __str__(self) -> str:
        if self.error_ms is None:
            return format_ms(self.time_ms)
        return f"~{format_ms(self.time_ms)} ± {format_ms(self.error_ms)}"


def call_time(folder: Path, cell: Cell, steps: int | None) -> CallTime | None:
    """The time of a call of a cell that went well; None where it did not, or timed none.

    Args:
        folder: of the sweep.
        steps: what the answer's times are for.

    Raises:
        UnreadableInput: its run directory cannot be read.
    """
    if cell.status != OK or cell.run is None:
        return None
    if cell.extrapolated and steps:
        return CallTime(call_ms(cell.extrapolated, steps), cell.extrapolated["error_ms"])
    timed = timed_ms(read_manifest(folder / cell.run))
    return CallTime(timed[0]) if timed else None


def call_times(folder: Path, cells: list[Cell], steps: int | None) -> list[CallTime | None]:
    """`call_time` of each cell; one whose run cannot be read has none, and says so in its reason."""
    found: list[CallTime | None] = []
    for each in cells:
        try:
            found.append(call_time(folder, each, steps))
        except UnreadableInput as error:
            each.reason = error.message
            found.append(None)
    return found

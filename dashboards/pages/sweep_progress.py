"""How far a sweep is, on the Sweep page: its cells by status, what runs now, how long the rest takes."""

from __future__ import annotations

import time
from collections import Counter

from dashboards import parts
from dashboards.charts import sweep as charts
from dashboards.live import RUNNING
from profiler.metrics.sweep import SweepResult
from profiler.tables.sweep import CellRun

WAITING = "queued"


def shown(result: SweepResult) -> None:
    """The bar of statuses and its legend."""
    cells = result.tables.cells
    counts = Counter(each.cell.status for each in cells)
    ended = len(cells) - counts[RUNNING] - counts[WAITING]
    parts.section(
        f"{ended} of {len(cells)} cells are done" if ended < len(cells) else f"{len(cells)} cells", told(result, time.time_ns())
    )
    parts.plot(charts.statuses(counts), "sweep_statuses")
    parts.legend([(charts.STATUSES[each], each, str(counts[each])) for each in charts.STATUSES if counts[each]])


def told(result: SweepResult, now_ns: int) -> str:
    """What runs now, since when, and how long the rest takes at the pace so far."""
    cells = result.tables.cells
    lines = [_since(each, now_ns) for each in cells if each.cell.status == RUNNING]
    left_s = seconds_left(cells, now_ns)
    if result.tables.status == RUNNING and left_s is not None:
        lines.append(f"about {spoken(left_s)} left at the pace so far")
    elif result.tables.status not in ("ok", "", RUNNING):
        lines.append(f"the sweep ended as {result.tables.status}; the same command goes on where it stopped")
    return " · ".join(lines)


def seconds_left(cells: list[CellRun], now_ns: int) -> float | None:
    """Cells to go at the mean of those that ran, as many at once as run now; None before the first is done."""
    took = [each.cell.seconds for each in cells if each.cell.seconds and each.cell.status not in (RUNNING, WAITING, "refused")]
    running = [each.cell for each in cells if each.cell.status == RUNNING]
    waiting = sum(each.cell.status == WAITING for each in cells)
    if not took or not (running or waiting):
        return None
    mean = sum(took) / len(took)
    begun = sum(max(0.0, mean - (now_ns - (each.began_ns or now_ns)) / 1e9) for each in running)
    return (waiting * mean + begun) / max(1, len(running))


def spoken(seconds: float) -> str:
    """A duration in words."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _since(each: CellRun, now_ns: int) -> str:
    cell = each.cell
    since = f" since {spoken(max(0, now_ns - cell.began_ns) / 1e9)}" if cell.began_ns else ""
    return f"{cell.id} runs{since}" + (f" on {cell.worker}" if cell.worker else "")

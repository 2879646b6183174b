"""`runs` for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from profiler.metrics.listing import RunRow
from profiler.report.names import shorten
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, number, table

_HEADERS = ("run", "kind", "model", "scheme", "compile", "batch", "GPU", "ranks", "median ms", "model GiB", "peak GiB", "status")
_TEXT_COLUMNS = (0, 1, 2, 3, 4, 6, 7, 11)
_GPU_WIDTH = 12
_GAP = 3
# What tells runs apart least gives way first where their names do not fit: kind, GPU, batch, model.
_GIVE_WAY = (1, 6, 5, 2)


def runs_text(folder: Path, rows: Sequence[RunRow], width: int = MAX_WIDTH) -> str:
    """A table of runs at most `width` columns (80 to 120), then the errors of those that cannot be read."""
    if not rows:
        return f"{folder} holds no runs"
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    cells = [_cells(row) for row in rows]
    # Columns that no run fills only take space.
    used = [index for index in range(len(_HEADERS)) if index == 0 or any(row[index] != "-" for row in cells)]
    widths = [max(len(header), *(len(row[index]) for row in cells)) + _GAP for index, header in enumerate(_HEADERS)]
    for index in _GIVE_WAY:
        if index in used and sum(widths[each] for each in used) - _GAP > width:
            used.remove(index)
    name_width = max(12, width - sum(widths[index] for index in used[1:]))
    shown = [[shorten(row[index], name_width) if index == 0 else row[index] for index in used] for row in cells]
    left = [position for position, index in enumerate(used) if index in _TEXT_COLUMNS]
    parts = [table([_HEADERS[index] for index in used], shown, width, left)]
    parts += ["\n".join(f"{row.name}: {row.error}" for row in rows if row.error)] if any(row.error for row in rows) else []
    return "\n\n".join(parts)


def _cells(row: RunRow) -> list[str]:
    texts = [row.name, row.kind, row.model, row.scheme, row.compile, row.batch, _short_gpu(row.gpu), ranks(row)]
    numbers = [number(row.median_ms), number(row.model_gib, 2), number(row.inference_peak_gib, 2)]
    status = "unreadable" if row.error else row.status
    return [*("-" if each is None else str(each) for each in texts), *numbers, status or "-"]


def ranks(row: RunRow) -> str | None:
    """`2 ulysses`, `3 of 4` where folders are missing; None for a run of one process."""
    if row.ranks < 2:
        return None
    here = str(row.ranks) if row.ranks_here == row.ranks else f"{row.ranks_here} of {row.ranks}"
    return f"{here} {row.parallel}" if row.parallel else here


def _short_gpu(name: str | None) -> str | None:
    return shorten(name.removeprefix("NVIDIA ").removeprefix("Tesla "), _GPU_WIDTH) if name else None

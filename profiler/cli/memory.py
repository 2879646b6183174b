"""`diffuscope memory`: where every byte of a run is, over time and at the peak."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.output import JsonOption, emit
from profiler.cli.waiting import say_if_long


def command(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    part: Annotated[str, typer.Option(help="memory (one call) or load (load, quantize and warm-up).")] = "memory",
    by: Annotated[str, typer.Option(help="Rows of the timeline: category, component, role or module.")] = "category",
    top: Annotated[int, typer.Option("--top", min=0, help="Show at most N allocations at the peak.")] = 10,
    rank: Annotated[int | None, typer.Option(help="Of several ranks: whose memory; default: the one that needs most.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Where every byte is: timeline, the peak taken apart, growth."""
    from profiler.metrics.memory.source import ARTIFACTS
    from profiler.report.memory import memory_data
    from profiler.report.memory_text import memory_text
    from profiler.tables.ranks import chosen_rank
    from profiler.tables.run import Run

    say_if_long(run, ARTIFACTS.get(part, ""))
    opened = Run.open(run)
    data = memory_data(opened, part, by, top, None if rank is None else chosen_rank(opened, rank))
    width = shutil.get_terminal_size((100, 24)).columns
    emit(as_json, data, lambda: memory_text(data, width), f"diffuscope diagnose {shlex.quote(str(run))}")

"""`diffuscope runs`: what a folder of runs holds."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.names import RUNS_FOLDER
from profiler.cli.output import JsonOption, emit


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of runs.")] = RUNS_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """List the runs of a folder, broken ones too."""
    from dataclasses import asdict

    from profiler.metrics.listing import list_runs
    from profiler.report.runs_text import runs_text

    rows = list_runs(folder)
    width = shutil.get_terminal_size((120, 24)).columns
    newest = max((row for row in rows if not row.error), key=lambda row: row.created_ns or 0, default=None)
    # A sweep's folder is listed with itself: its table is the next thing to see, and not one of its cells.
    whole = next((row for row in rows if row.kind == "sweep" and Path(row.run) == folder), None)
    newest = whole or newest
    following = f"diffuscope show {shlex.quote(newest.run)}" if newest else "diffuscope record flux-tiny --device cpu"
    emit(as_json, {"runs": [asdict(row) for row in rows]}, lambda: runs_text(folder, rows, width), following)

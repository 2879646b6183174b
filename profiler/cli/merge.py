"""`diffuscope merge`: one run out of the folders that its hosts wrote."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.output import JsonOption, emit


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The run's folder of each host.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Run directory to create.")],
    as_json: JsonOption = False,
) -> None:
    """Bring the ranks of a run together, from hosts that share no folder."""
    from profiler.rundir.merge import merge_runs
    from profiler.rundir.summary import summarize

    manifest = merge_runs(folders, out)
    data = {"run": str(out), "status": manifest.status}
    emit(as_json, data, lambda: summarize(out, manifest), f"diffuscope show {shlex.quote(str(out))}")

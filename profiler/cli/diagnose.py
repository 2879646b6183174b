"""`diffuscope diagnose`: what to change first, where, and what it is worth."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.output import JsonOption, emit


def command(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    base: Annotated[Path | None, typer.Option(help="Run directory to compare with.")] = None,
    window: Annotated[str, typer.Option(help="The ledger's window: step, text, decode or call.")] = "step",
    rank: Annotated[int | None, typer.Option(help="Of several ranks: whose ledger; default: the median's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ranked findings: what, where, cost in ms, what to change."""
    from profiler.core.errors import UsageError
    from profiler.report.diagnose import diagnose, to_json
    from profiler.report.diagnose_text import render
    from profiler.tables.ranks import chosen_rank
    from profiler.tables.run import Run

    if window not in ("step", "text", "decode", "call"):
        raise UsageError(f"--window {window} is not known", "choose from: step, text, decode, call")
    opened = Run.open(run)
    if rank is not None:
        chosen_rank(opened, rank)
    report = diagnose(opened, Run.open(base) if base else None, window, rank)
    emit(as_json, to_json(report), lambda: render(report), f"diffuscope show {shlex.quote(str(run))}")

"""`diffuscope show`: what a run directory says."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from profiler.cli.output import JsonOption, emit
from profiler.cli.waiting import say_if_long

_TOP = 15


def command(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    top: Annotated[int | None, typer.Option("--top", min=0, help=f"Show at most N kernels (text: {_TOP}, JSON: all).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run: phases, time, memory, kernels."""
    from profiler.report.show import show_data
    from profiler.report.show_text import show_text
    from profiler.report.tune import tune_data, tune_text
    from profiler.tables.run import Run

    say_if_long(run)
    opened = Run.open(run)
    width = shutil.get_terminal_size((100, 24)).columns
    if opened.manifest.kind == "sweep":
        from profiler.cli.sweep_text import print_sweep

        print_sweep(run, as_json)
        return
    if opened.manifest.kind == "tune":
        found = tune_data(opened)
        emit(as_json, found, lambda: tune_text(found, width), _runs(run))
        return
    data = show_data(opened, top)
    emit(as_json, data, lambda: show_text(data, _TOP if top is None else top, width), _next(run, data))


def _next(run: Path, data: dict[str, Any]) -> str:
    if data["memory"]["oom"] or (data["memory"]["at_peak"] and not data["classes"]):
        return f"diffuscope memory {shlex.quote(str(run))}"
    if data["classes"]:
        return f"diffuscope diagnose {shlex.quote(str(run))}"
    return _runs(run)


def _runs(run: Path) -> str:
    folder = run.absolute().parent
    return "diffuscope runs" if folder == Path("traces").absolute() else f"diffuscope runs {shlex.quote(str(folder))}"

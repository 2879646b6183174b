"""`diffuscope show`: what a run directory says."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from profiler.cli.output import JsonOption, emit
from profiler.cli.sweep_answer import FORMATS, Asked, print_answer
from profiler.cli.waiting import say_if_long
from profiler.core.errors import UsageError
from profiler.core.plan_file import names_plan
from profiler.rundir import layout

_TOP = 15


def command(
    run: Annotated[Path, typer.Argument(help="A run directory, a sweep's folder, a folder of runs, or a plan's file.")],
    top: Annotated[int | None, typer.Option("--top", min=0, help=f"Show at most N kernels (text: {_TOP}, JSON: all).")] = None,
    against: Annotated[str | None, typer.Option(help="Of a sweep: the tables to hold it against: seed.")] = None,
    base: Annotated[str | None, typer.Option(help="Of a sweep: the cell or run that quality is measured against.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="Of a sweep: the budget at the inference peak, 24GiB.")] = None,
    min_sqnr: Annotated[float | None, typer.Option(help="Of a sweep: the least SQNR, dB.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Of a sweep: a plan, to see how right its predictions were.")] = None,
    rank: Annotated[int | None, typer.Option(help="Of several ranks: whose phases, memory and kernels.")] = None,
    form: Annotated[str, typer.Option("--format", help=f"Of a sweep: {', '.join(FORMATS)}.")] = FORMATS[0],
    as_json: JsonOption = False,
) -> None:
    """Show a run: phases, time, memory, kernels; of a sweep its table, and which cell to ship."""
    from profiler.report.show import show_data
    from profiler.report.show_text import show_text
    from profiler.report.tune import tune_data, tune_text
    from profiler.tables.ranks import chosen_rank
    from profiler.tables.run import Run
    from profiler.tables.sweep import holds_runs

    if run.is_file() and run.name in (layout.SWEEP, layout.MANIFEST):
        raise UsageError(f"{run} is one file of a folder", f"name that: diffuscope show {shlex.quote(str(run.parent))}")
    asked = Asked(against, base, max_memory, min_sqnr, form, plan)
    is_plan = run.is_file() and names_plan(run.name)
    is_sweep = not is_plan and holds_runs(run)
    if not is_sweep:
        _refuse(run, "sweep", asked.options, "a sweep's folder")
    if is_plan or is_sweep:
        _refuse(run, "run", [name for name, given in (("--top", top), ("--rank", rank)) if given is not None], "a run directory")
    if is_plan:
        _show_plan(run, as_json)
        return
    if is_sweep:
        print_answer(run, asked, as_json)
        return
    say_if_long(run)
    opened = Run.open(run)
    width = shutil.get_terminal_size((100, 24)).columns
    if opened.manifest.kind == "tune":
        found = tune_data(opened)
        emit(as_json, found, lambda: tune_text(found, width), _runs(run))
        return
    data = show_data(opened, top, None if rank is None else chosen_rank(opened, rank))
    emit(as_json, data, lambda: show_text(data, _TOP if top is None else top, width), _next(run, data))


def _refuse(path: Path, kind: str, options: list[str], place: str) -> None:
    """Options of a kind that this is not."""
    if options:
        are, them = ("is", "it") if len(options) == 1 else ("are", "them")
        raise UsageError(f"{path} is no {kind}, and {' and '.join(options)} {are} of one", f"leave {them} out, or name {place}")


def _show_plan(path: Path, as_json: bool) -> None:
    from profiler.cli.plan_output import record_command
    from profiler.report.plan import plan_data, plan_text

    data, width = plan_data(path), shutil.get_terminal_size((100, 24)).columns
    emit(as_json, {"plan": str(path)} | data, lambda: plan_text(data, width), record_command(data, path))


def _next(run: Path, data: dict[str, Any]) -> str:
    if data["memory"]["oom"] or (data["memory"]["at_peak"] and not data["classes"]):
        return f"diffuscope memory {shlex.quote(str(run))}"
    if data["classes"]:
        return f"diffuscope diagnose {shlex.quote(str(run))}"
    return _runs(run)


def _runs(run: Path) -> str:
    folder = run.absolute().parent
    return "diffuscope runs" if folder == Path("traces").absolute() else f"diffuscope runs {shlex.quote(str(folder))}"

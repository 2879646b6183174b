"""`diffuscope check`: whether a run keeps its budget, for CI."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from profiler.cli.output import JsonOption, emit
from profiler.core.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from profiler.rundir.layout import TRACE


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    budget: Annotated[Path, typer.Option(metavar="FILE.toml", help="The limits; docs/check.md has every key.")],
    base: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run for ratios and quality, in place of the budget's own base.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE.xml", help="Write the result as JUnit XML too.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Exit 1 where a run breaks its budget: for CI."""
    from profiler.report.budget import read_budget
    from profiler.report.check import check_data
    from profiler.report.check_junit import check_junit
    from profiler.report.check_text import check_text
    from profiler.tables.run import Run

    limits = read_budget(budget)
    against = base or limits.base
    opened = Run.open(run)
    data = check_data(opened, limits, Run.open(against) if against else None)
    if junit is not None:
        _write(junit, check_junit(data))
    width = shutil.get_terminal_size((100, 24)).columns
    emit(as_json, data, lambda: check_text(data, width), _next(data, opened.has(TRACE)))
    return EXIT_OK if data["passed"] else EXIT_CHECK_FAILED


def _write(path: Path, text: str) -> None:
    from profiler.rundir.writer import write_atomic

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"cannot write --junit {path}: {why}", "name a file in a folder that can be written") from None


def _next(data: dict[str, Any], has_trace: bool) -> str:
    """What shows why: the run where it failed, the diagnosis for time and compiling, the comparison for what is left."""
    run = shlex.quote(data["run"])
    about = {each["about"] for each in data["checks"] if not each["ok"]}
    if "run" in about:
        return f"diffuscope show {run}"
    base = f" --base {shlex.quote(data['base'])}" if data["base"] else ""
    if about & {"time", "compile"} and has_trace:
        return f"diffuscope diagnose {run}{base}"
    return f"diffuscope compare {shlex.quote(data['base'])} {run}" if data["base"] else f"diffuscope show {run}"

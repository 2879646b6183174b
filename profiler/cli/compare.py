"""`diffuscope compare`: is the win real, where does it come from, what ate it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from profiler.cli.output import JsonOption, emit

_WINDOWS = ("step", "text", "decode", "call")


def command(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="Run directory to compare with.")],
    new: Annotated[list[Path], typer.Argument(metavar="NEW", help="Run directory to hold against it; several make one table.")],
    window: Annotated[str, typer.Option(help="The window whose kernels are shown: step, text, decode or call.")] = "step",
    top: Annotated[int, typer.Option("--top", min=0, help="Show at most N kernels (JSON: all).")] = 10,
    rank: Annotated[int | None, typer.Option(help="Of several ranks: whose step and memory; default: the median's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The win in time and memory: real or not, where it comes from, what ate it."""
    from profiler.core.errors import UsageError
    from profiler.report.compare import compare_data
    from profiler.report.compare_text import compare_text
    from profiler.tables.run import Run

    if window not in _WINDOWS:
        raise UsageError(f"--window {window} is not known", f"choose from: {', '.join(_WINDOWS)}")
    data = compare_data([Run.open(path) for path in (base, *new)], rank)
    width = shutil.get_terminal_size((100, 24)).columns
    emit(as_json, data, lambda: compare_text(data, window, top, width), _next(base, new[0], data["comparisons"][0]))


def _next(base: Path, new: Path, comparison: dict[str, Any]) -> str:
    if comparison["time"]["windows"]:
        return f"diffuscope diagnose {shlex.quote(str(new))} --base {shlex.quote(str(base))}"
    return f"diffuscope show {shlex.quote(str(new))}"

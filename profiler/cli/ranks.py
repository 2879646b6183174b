"""`diffuscope ranks`: Holistic Trace Analysis over one rank or many, beside our own numbers."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from profiler.cli.output import JsonOption, emit
from profiler.cli.sizes import MOST_S
from profiler.core.errors import UsageError
from profiler.core.lists import parse_list

if TYPE_CHECKING:
    from profiler.tables.hta import Hta

_LIMIT_S = 900


def command(
    run: Annotated[Path, typer.Argument(help="A run directory with the traces of one rank or more.")],
    analyses: Annotated[str, typer.Option(metavar="A,B", help="Which of HTA's analyses (default: all).")] = "",
    ranks: Annotated[str, typer.Option(metavar="0,1", help="Which ranks (default: every one with a trace).")] = "",
    time_limit: Annotated[
        float, typer.Option(min=1, max=MOST_S, help="Seconds that HTA may take for everything; what is done by then is shown.")
    ] = _LIMIT_S,
    as_json: JsonOption = False,
) -> None:
    """Holistic Trace Analysis over one rank or many, beside our own numbers."""
    from profiler.report.hta import hta_data
    from profiler.report.hta_text import hta_text
    from profiler.tables.hta import Hta, Limits
    from profiler.tables.run import Run

    opened = Run.open(run)
    hta = Hta(opened, parse_list("--analyses", analyses) if analyses else [], _numbers(ranks), Limits(seconds=time_limit))
    _wait(hta)
    data = hta_data(opened, hta)
    width = shutil.get_terminal_size((100, 24)).columns
    emit(as_json, data, lambda: hta_text(data, width), f"diffuscope diagnose {shlex.quote(str(run))}")


def _wait(hta: Hta) -> None:
    """Run what is not kept; every stage is said once, on stderr."""
    said = ""
    for stage in hta.stages():
        if stage != said:
            print(stage, file=sys.stderr, flush=True)
            said = stage


def _numbers(text: str) -> list[int]:
    try:
        return [int(each) for each in parse_list("--ranks", text)] if text else []
    except ValueError:
        raise UsageError(f"--ranks {text} is no list of ranks", "give numbers: --ranks 0,1") from None

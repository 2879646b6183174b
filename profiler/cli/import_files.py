"""`diffuscope import`: file what was recorded elsewhere into a run directory."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.names import free_name
from profiler.cli.output import JsonOption, emit

_TOP = 10


def command(
    trace: Annotated[Path | None, typer.Argument(help="A Kineto trace, .json or .json.gz, or a folder of one a rank.")] = None,
    memory: Annotated[Path | None, typer.Option("--memory", help="A CUDA memory snapshot (pickle, may be gzipped).")] = None,
    compile_log: Annotated[
        Path | None, typer.Option("--compile-log", help="A TORCH_TRACE log: file, folder, .tgz or .zip.")
    ] = None,
    timed_ms: Annotated[float | None, typer.Option("--timed-ms", help="Untraced wall time of the traced window, ms.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run directory to create; default: a new name in traces/.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """File traces, snapshots and logs recorded elsewhere."""
    from profiler.report.show import show_data
    from profiler.report.show_text import show_text
    from profiler.tables.importing import Inputs, check, import_files

    if trace is not None and trace.is_dir():
        _ranks(trace, memory, compile_log, timed_ms, out, as_json)
        return
    given = Inputs(trace=trace, memory=memory, compile_log=compile_log, timed_ms=timed_ms)
    if out is None:
        check(given)
        out = free_name(f"import-{given.stem}")
    run = import_files(given, out, shlex.join(["diffuscope", *sys.argv[1:]]))
    width = shutil.get_terminal_size((100, 24)).columns
    data = {"run": str(run.path), "status": run.manifest.status}
    following = "diagnose" if trace else "memory" if memory else "show"
    emit(as_json, data, lambda: show_text(show_data(run), _TOP, width), f"diffuscope {following} {shlex.quote(str(run.path))}")


def _ranks(
    folder: Path, memory: Path | None, compile_log: Path | None, timed_ms: float | None, out: Path | None, as_json: bool
) -> None:
    from profiler.core.errors import UsageError
    from profiler.report.show import show_data
    from profiler.report.show_text import show_text
    from profiler.tables.importing_ranks import find_ranks, import_ranks

    if memory is not None or compile_log is not None:
        raise UsageError(f"{folder} is a folder of rank traces", "import --memory and --compile-log with the trace of one rank")
    if out is None:
        find_ranks(folder)
        out = free_name(f"import-{folder.resolve().name or 'ranks'}")
    run = import_ranks(folder, out, shlex.join(["diffuscope", *sys.argv[1:]]), timed_ms)
    width = shutil.get_terminal_size((100, 24)).columns
    data = {"run": str(run.path), "status": run.manifest.status, "lost": [asdict(each) for each in run.manifest.lost]}
    emit(as_json, data, lambda: show_text(show_data(run), _TOP, width), f"diffuscope diagnose {shlex.quote(str(run.path))}")

"""`diffuscope report`: a run as one HTML file to keep or to send."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from profiler.cli.output import JsonOption, emit
from profiler.cli.waiting import say_if_long
from profiler.core.errors import UsageError

NAME = "report.html"
_ENDINGS = (".html", ".htm")


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, a sweep's folder, or a folder of runs.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.html", help=f"File to write; default: RUN/{NAME}.")
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Run directory to compare with; of a sweep the cell that quality is measured against."),
    ] = None,
    rank: Annotated[
        int | None, typer.Option(help="Of several ranks: whose time and memory; default: the median's time, the most memory.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """One HTML file of a run: diagnosis, kernels, memory; opens offline."""
    from profiler.tables.sweep import holds_runs

    target = _target(run, out, force)
    data = _sweep(run, base, target) if holds_runs(run) else _run(run, base, target, rank)
    data |= {"file": str(target), "size_bytes": target.stat().st_size}
    following = "diagnose" if "diagnosis" in data["sections"] else "show"
    emit(as_json, data, lambda: _text(data), f"diffuscope {following} {shlex.quote(str(run))}")


def _run(run: Path, base: Path | None, target: Path, rank: int | None) -> dict[str, Any]:
    """Write the report of a run; what `--json` says of it."""
    from profiler.report.html import page
    from profiler.report.html_data import gather
    from profiler.tables.ranks import chosen_rank
    from profiler.tables.run import Run

    say_if_long(run)
    opened = Run.open(run)
    asked = None if rank is None else chosen_rank(opened, rank)
    found = gather(opened, Run.open(base) if base else None, asked)
    _write(target, page(found))
    missing = [{"section": each.section, "why": each.why} for each in found.missing]
    return {"run": str(run), "status": found.show["status"], "sections": found.sections, "missing": missing}


def _sweep(folder: Path, base: Path | None, target: Path) -> dict[str, Any]:
    """The same of a sweep, or of a folder of runs; a sweep of the seed's cells stands beside the seed's figures."""
    from profiler.report import html_sweep
    from profiler.report.sweep import sweep_data

    data = sweep_data(folder, str(base) if base else None)
    if (data["preset"] or "").startswith("seed"):
        data = sweep_data(folder, str(base) if base else None, against="seed")
    _write(target, html_sweep.page(data))
    return {"run": str(folder), "status": data["status"], "sections": ["sweep"], "missing": []}


def _target(run: Path, out: Path | None, force: bool) -> Path:
    """Where to write; refused before anything is read."""
    target = out or run / NAME
    if target.suffix.lower() not in _ENDINGS:
        # So that no slip of the hand, with --force, writes over what was recorded.
        raise UsageError(f"-o {target} does not end in .html", f"name the file to write, for example -o {NAME}")
    if os.path.isdir(target):  # noqa: PTH112 - a name that no file can have is no folder, and no error yet
        raise UsageError(f"{target} is a folder", f"name the file to write, for example -o {target / NAME}")
    if os.path.lexists(target) and not force:
        raise UsageError(f"{target} exists already", "replace it with --force, or name another file with -o")
    return target


def _write(path: Path, text: str) -> None:
    from profiler.rundir.writer import write_atomic

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"cannot write {path}: {why}", "name a file in a folder that can be written with -o") from None


def _text(data: dict[str, Any]) -> str:
    lines = [f"{data['file']}  ({data['size_bytes'] / 1024:,.0f} KiB, one file, opens offline)"]
    lines.append(f"holds: {', '.join(data['sections']) or 'what the run says of itself'}")
    lines += [f"not in it: {each['section']}: {each['why']}" for each in data["missing"]]
    return "\n".join(lines)

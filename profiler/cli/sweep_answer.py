"""The answer of a sweep, printed: what `show` and `sweep` share."""

from __future__ import annotations

import math
import shlex
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from profiler.cli.output import WHERE_READ, emit
from profiler.cli.sizes import parse_bytes
from profiler.core.errors import UsageError
from profiler.core.printable import printable
from profiler.core.units import gib

FORMATS = ("text", "markdown", "csv", "json")


@dataclass(frozen=True)
class Asked:
    """What is asked of a sweep beside its folder; sizes as typed."""

    against: str | None = None
    base: str | None = None
    max_memory: str | None = None
    min_sqnr: float | None = None
    form: str = FORMATS[0]
    plan: Path | None = None

    @property
    def options(self) -> list[str]:
        """The options given that only a sweep answers."""
        given = {field.name: getattr(self, field.name) != field.default for field in fields(self)}
        return ["--format" if name == "form" else f"--{name.replace('_', '-')}" for name, is_given in given.items() if is_given]


def print_answer(folder: Path, asked: Asked, as_json: bool) -> dict[str, Any]:
    """Print the answer of a sweep's folder, or of one of runs; returns it as data.

    Raises:
        UsageError: an unknown format, size, base or table to hold it against.
        UnreadableInput: no runs, or a `sweep.json` that cannot be read.
    """
    from profiler.report.sweep import sweep_data
    from profiler.report.sweep_formats import FORMATS as RENDERERS

    if asked.form not in FORMATS:
        raise UsageError(f"--format {asked.form} is not known", f"choose from: {', '.join(FORMATS)}")
    if as_json and asked.form not in ("text", "json"):
        raise UsageError(f"--json and --format {asked.form} ask for two formats", "leave one of them out")
    if asked.min_sqnr is not None and not math.isfinite(asked.min_sqnr):
        raise UsageError(f"--min-sqnr {asked.min_sqnr} is no number of dB", "for example 20")
    limit = gib(parse_bytes("--max-memory", asked.max_memory))
    data = sweep_data(folder, asked.base, asked.against, limit, asked.min_sqnr, asked.plan)
    width = shutil.get_terminal_size((100, 24)).columns
    if as_json or asked.form == "text":
        emit(as_json, data, lambda: RENDERERS["text"](data, width), _next(folder, data, asked))
    else:
        print(printable(RENDERERS[asked.form](data, width)), end="")
    return data


def print_results(folder: Path, steps: int | None, status: str, asked: Asked, as_json: bool) -> None:
    """Print what the cells' own manifests say, where no table can be made: on a machine that only records.

    Args:
        steps: what the answer's times are for.
        status: of the sweep.

    Raises:
        UnreadableInput: no `sweep.json` that can be read.
    """
    from profiler.cli.sweep_text import results_text
    from profiler.sweep.folder import read_cells
    from profiler.sweep.times import call_times

    cells = read_cells(folder)
    times = call_times(folder, cells, steps)
    later = f"diffuscope show {shlex.quote(str(folder))}" + (f" --against {asked.against}" if asked.against else "")
    note = f"what to ship, memory and quality are in the answer, which is made {WHERE_READ}: {later}"
    known = {each.id: {"time_s": time.time_ms / 1e3 if time else None} for each, time in zip(cells, times, strict=True)}
    data = {
        "run": str(folder),
        "status": status,
        "steps": steps,
        "cells": [each.to_dict() | known[each.id] for each in cells],
        "not_known": [note],
    }
    emit(as_json, data, lambda: results_text(cells, times, note))


def _next(folder: Path, data: dict[str, Any], asked: Asked) -> str:
    seeded = any(each["spec"].get("model") in ("flux-dev", "cogvideox-5b", "cogvideox-2b") for each in data["cells"])
    if seeded and not asked.against:
        return f"diffuscope show {shlex.quote(str(folder))} --against seed"
    best = next((each["cell"] for each in data["recommended"] if each["cell"]), None)
    run = next((each["run"] for each in data["cells"] if each["id"] == best and each["run"]), None)
    return f"diffuscope show {shlex.quote(str(folder / run))}" if run else f"diffuscope runs {shlex.quote(str(folder))}"

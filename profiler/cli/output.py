"""What a command prints: JSON alone, or text that ends with the next useful command."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from profiler.cli.terminal import show
from profiler.core.errors import UsageError
from profiler.core.printable import printable

# What the analysis side is made of: a machine that only records may lack it.
_TO_READ = ("polars", "msgspec", "isal")
WHERE_READ = "where " + ", ".join(_TO_READ) + " are installed (`pip install diffuscope`); a run directory can be copied there"

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON only.")]


def emit(as_json: bool, data: Any, text: Callable[[], str], next_command: str | None = None) -> None:
    """Print `data` as JSON, or the rendered text and the next command.

    Args:
        text: renders for people; called only without `--json`.
    """
    if as_json:
        json.dump(data, sys.stdout, indent=1)
        print()
        return
    show(printable(text()))
    if next_command:
        print(f"\nnext: {printable(next_command)}")


def can_read() -> bool:
    """Whether runs can be read and shown on this machine, not only recorded."""
    return all(importlib.util.find_spec(each) is not None for each in _TO_READ)


def explain_missing(error: ModuleNotFoundError) -> UsageError | None:
    """The one clear error for a command that reads a run where that is not possible; None where another module is missing."""
    if error.name not in _TO_READ:
        return None
    return UsageError(
        f"this command reads a run, which needs {error.name}, and that is not installed here", f"use it {WHERE_READ}"
    )

"""What a command prints: JSON alone, or text that ends with the next useful command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from profiler.cli.terminal import show
from profiler.core.printable import printable

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

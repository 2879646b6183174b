"""The typer application: one module of this room a command."""

from __future__ import annotations

import functools
import importlib
import io
import os
import sys
from typing import Any

import typer

from profiler.cli.output import explain_missing
from profiler.core.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, DiffuscopeError
from profiler.core.gone import let_go
from profiler.core.printable import printable

# Order of `--help`: the way through a day's work.
_COMMANDS = {
    "record": "profiler.cli.record",
    "import": "profiler.cli.import_files",
    "merge": "profiler.cli.merge",
    "show": "profiler.cli.show",
    "diagnose": "profiler.cli.diagnose",
    "memory": "profiler.cli.memory",
    "compare": "profiler.cli.compare",
    "check": "profiler.cli.check",
    "ranks": "profiler.cli.ranks",
    "report": "profiler.cli.report",
    "runs": "profiler.cli.runs",
    "dashboard": "profiler.cli.dashboard",
    "explain": "profiler.cli.explain",
    "tune": "profiler.cli.tune",
    "plan": "profiler.cli.plan",
    "sweep": "profiler.cli.sweep",
    "clinic": "profiler.cli.clinic",
}

# Newer typers carry a click of their own: its base error is found through one that typer exports.
_WRONG_USAGE: Any = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")


def build() -> typer.Typer:
    """The application with every command; importing a command module must stay cheap (no torch, no polars)."""
    app = typer.Typer(
        name="diffuscope",
        help="Why is this compiled diffusion run slow, where does the graph break, and is the memory win real?",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        # Plain help: rich's markup engine alone would double the start-up time.
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name, module in _COMMANDS.items():
        command = importlib.import_module(module).command
        app.command(name)(command)
    return app


@functools.cache
def _command() -> Any:
    """The application as its parser, made once: a process that runs many command lines would read every signature anew."""
    return typer.main.get_command(build())


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that lacks a character, or a name that is no valid text, costs that character alone.
        sys.stdout.reconfigure(errors="replace")
    elif sys.stdout is None:
        # Closed by who called (`>&-`): what is told goes nowhere.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        result = _command()(args=arguments, prog_name="diffuscope", standalone_mode=False)
        # Here, where a reader that is gone is heard: at the interpreter's end it would be a failure.
        sys.stdout.flush()
    except DiffuscopeError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        told = explain_missing(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        return told.exit_code
    except _WRONG_USAGE as error:
        error.show()
        return EXIT_USAGE
    except (typer.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:
        # The reader (`head`) is gone: typer makes an end with code 1 of that, which says that a check failed.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        let_go(sys.stdout)
        return EXIT_OK
    return result if isinstance(result, int) else EXIT_OK


def _version(value: bool) -> None:
    if value:
        from profiler import __version__

        print(f"diffuscope {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", callback=_version, is_eager=True),
) -> None:
    """Why is this compiled diffusion run slow, where does the graph break, and is the memory win real?"""

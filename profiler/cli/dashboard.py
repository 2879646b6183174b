"""`diffuscope dashboard`: a folder of runs in the browser."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.names import RUNS_FOLDER
from profiler.cli.output import JsonOption, emit

_NEEDED = ("streamlit", "plotly", "starlette", "viztracer")
_PORT, _TRIED = 8501, 20
# Nothing that lies in the working directory, a folder of somebody's traces maybe, can be imported in place of a library.
_BOOT = "import sys, runpy; sys.path.append(sys.argv.pop(1)); runpy.run_module('dashboards', run_name='__main__')"


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of runs, or one run.")] = RUNS_FOLDER,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help=f"Port (default: the first free one from {_PORT}).")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others reach it only where this says so.")] = "127.0.0.1",
    as_json: JsonOption = False,
) -> None:
    """Open a folder of runs in the browser; works offline, nothing leaves the machine."""
    from profiler.core.errors import MissingExtra, UsageError

    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise MissingExtra("the dashboard", "dashboard")
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "name the folder that holds runs; `diffuscope record` makes the first")
    chosen = _free_port(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{chosen}"
    emit(as_json, {"url": url, "folder": str(folder)}, lambda: f"{folder}: {url}   (Ctrl-C ends it)")
    sys.stdout.flush()
    # The server takes this process over, so that its signals and its exit code are its own.
    root = str(Path(__file__).parents[2])
    os.execv(sys.executable, [sys.executable, "-P", "-c", _BOOT, root, str(folder), host, str(chosen)])


def _free_port(host: str, asked: int | None) -> int:
    """The port that was asked for where it is free, else the first free one.

    Raises:
        UsageError: it is taken, or this machine has no such address.
    """
    from profiler.core.errors import UsageError

    wanted = range(_PORT, _PORT + _TRIED) if asked is None else [asked]
    for port in wanted:
        try:
            with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
                return int(server.getsockname()[1])
        except OSError as error:
            why = error.strerror or str(error)
    raise UsageError(f"cannot listen on {host} port {wanted[-1]}: {why}", "choose another with --port or --host")

"""`diffuscope explain`: graph breaks and coming recompiles, found in a child process before anything runs."""

from __future__ import annotations

import importlib.util
import json
import shlex
import signal
import subprocess
from typing import Annotated, Any

import typer

from profiler.cli.explain_text import render
from profiler.cli.output import JsonOption, emit
from profiler.cli.record import parse_size
from profiler.core.child import child_command
from profiler.core.errors import EXIT_OK, MissingExtra, RecordedProgramFailed, UsageError
from profiler.core.lists import parse_list
from profiler.core.spec import RunSpec
from profiler.models.base import MODELS, find_model

Option = typer.Option
_DIMENSIONS = ("size", "batch", "frames")


def command(
    model: Annotated[str, typer.Argument(help=f"{', '.join(MODELS)}, or module:function of your own.")],
    vary: Annotated[str, Option(help=f"Which recompiles to expect when these change: any of {','.join(_DIMENSIONS)}.")] = "",
    parts: Annotated[str, Option(help="Only these parts: transformer,vae,text_encoder,...; default: all.")] = "",
    batch: Annotated[int, Option(help="Images or videos a call.")] = 1,
    size: Annotated[str | None, Option(help="Pixels: N, or HEIGHTxWIDTH; default: the model's.")] = None,
    frames: Annotated[int | None, Option(help="Video frames, 8 n + 1 for CogVideoX.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Graph breaks, guards and coming recompiles of every part, without a full run."""
    height, width = parse_size(size)
    spec = RunSpec(model=model, batch=batch, height=height, width=width, frames=frames)
    dimensions = parse_list("--vary", vary) if vary else []
    wanted = parse_list("--parts", parts) if parts else []
    _check(spec, dimensions)
    code, answer = _run_child({"spec": spec.to_dict(), "vary": dimensions, "parts": wanted})
    if answer is None:
        return code
    emit(as_json, answer, lambda: render(answer), f"diffuscope record {shlex.quote(model)} --compile regional")
    return EXIT_OK


def _check(spec: RunSpec, dimensions: list[str]) -> None:
    """Refuse what is known to be wrong before a process starts."""
    for each in dimensions:
        if each not in _DIMENSIONS:
            raise UsageError(f"--vary {each} is not known", f"choose from: {', '.join(_DIMENSIONS)}")
    for name in ("batch", "height", "width", "frames"):
        value = getattr(spec, name)
        if value is not None and value < 1:
            raise UsageError(f"--{'size' if name in ('height', 'width') else name} is {value}, and must be at least 1")
    found = find_model(spec.model)
    found.resolve(spec)
    if "frames" in dimensions and not found.makes_video:
        raise UsageError(f"--vary frames was asked, and {spec.model} makes images", "vary size or batch")
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("explain", "record")


def _run_child(request: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
    """The explaining process's exit code, and its answer; none where it has said on stderr what is wrong.

    Raises:
        RecordedProgramFailed: the process ended without an answer and without a word of ours.
    """
    child = subprocess.run(
        child_command("profiler.recording.explain"),
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if child.returncode == 0:
        return EXIT_OK, json.loads(child.stdout)
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise RecordedProgramFailed(f"the explaining process was killed by {name}", "try one part at a time: --parts transformer")
    return child.returncode, None

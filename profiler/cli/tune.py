"""`diffuscope tune`: the fastest correct int8 kernel of every shape, searched in a child process."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from profiler.cli.names import free_name
from profiler.cli.output import WHERE_READ, JsonOption, can_read, emit
from profiler.cli.record import command_line, parse_size, refuse_killed, start_child
from profiler.core.combinations import refuse_values
from profiler.core.errors import EXIT_OK, EXIT_USAGE, MissingExtra, RecordedProgramFailed, UsageError
from profiler.core.shape_options import shape_options
from profiler.core.spec import DEVICES, RunSpec
from profiler.kernels.candidate import parse_shape
from profiler.models.base import MODELS, find_model
from profiler.rundir.tuned_table import tuned_option

Option = typer.Option


def command(
    model: Annotated[str | None, typer.Argument(help=f"{', '.join(MODELS)}, or module:function of your own.")] = None,
    shape: Annotated[list[str] | None, Option(help="A product as MxKxN, for example 4608x3072x12288; repeatable.")] = None,
    batch: Annotated[int, Option(help="Images or videos a call.")] = 1,
    size: Annotated[str | None, Option(help="Pixels: N, or HEIGHTxWIDTH; default: the model's.")] = None,
    frames: Annotated[int | None, Option(help="Video frames, 8 n + 1 for CogVideoX.")] = None,
    guidance: Annotated[float | None, Option(help="Guidance scale; of CogVideoX, above 1 doubles the batch.")] = None,
    fuse_qkv: Annotated[
        bool, Option("--fuse-qkv", help="With Q, K, V projections fused, as record --fuse-qkv runs them.")
    ] = False,
    device: Annotated[str, Option(help="auto, cuda or cpu.")] = "auto",
    table: Annotated[
        Path | None, Option(help="File to add the kernels to; default: the one that record --tuned auto reads.")
    ] = None,
    export_torchao: Annotated[Path | None, Option(help="Also write torchao's own autotuner file, of its own kernel.")] = None,
    import_torchao: Annotated[Path | None, Option(help="Also tune the shapes of such a file, and try what it holds.")] = None,
    out: Annotated[Path | None, Option("-o", "--out", help="Run directory to create; default: a new name in traces/.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Find, check and keep the fastest int8 kernel of every shape that a model multiplies under int8dq."""
    shapes = [str(parse_shape(each)) for each in shape or []]
    height, width = parse_size(size)
    shaped: dict[str, Any] = {
        "batch": batch,
        "height": height,
        "width": width,
        "frames": frames,
        "guidance": guidance,
        "fuse_qkv": fuse_qkv,
    }
    spec = RunSpec(model=model, scheme="int8dq", **shaped) if model else None
    _check(spec, shapes, device, import_torchao)
    defaults = (("batch", 1), ("fuse_qkv", False))
    given = dict.fromkeys(_option(each[0]) for each in shaped.items() if each[1] is not None and each not in defaults)
    if spec is None and given:
        raise UsageError(f"{', '.join(given)} without a model says nothing about a shape", "name a model, or leave it out")
    run = out or free_name(f"tune-{model or 'shapes'}")
    if run.exists():
        raise UsageError(f"{run} exists already", "name another directory with -o: a run is never overwritten")
    request = {
        "spec": spec.to_dict() if spec else None,
        "shapes": shapes,
        "device": device,
        "out": str(run),
        "table": _text(table),
        "export_torchao": _text(export_torchao),
        "import_torchao": _text(import_torchao),
        "command": command_line(),
    }
    return _tune(request, run, spec, as_json)


def _check(spec: RunSpec | None, shapes: list[str], device: str, import_torchao: Path | None) -> None:
    """Refuse what is known to be wrong before a process starts."""
    if device not in DEVICES:
        raise UsageError(f"--device {device} is not known", f"choose from: {', '.join(DEVICES)}")
    if spec is None and not shapes and import_torchao is None:
        raise UsageError("nothing to tune was named", "name a model, or shapes: --shape 4608x3072x12288")
    if spec is not None:
        refuse_values(spec)
        find_model(spec.model).resolve(spec)
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("tune", "record")


def _tune(request: dict[str, Any], run: Path, spec: RunSpec | None, as_json: bool) -> int:
    from profiler.rundir.reader import bury_on_disk, is_run

    code = start_child("profiler.tune", request)
    if code == EXIT_USAGE or not is_run(run):
        # Refused before anything was made, as the child has said.
        refuse_killed(code, "tuning")
        return code or EXIT_USAGE
    if code < 0:
        status = "interrupted" if -code in (signal.SIGINT, signal.SIGTERM) else "failed"
        bury_on_disk(run, status, f"the tuning process was killed by {signal.Signals(-code).name}")
    return report(run, spec, as_json)


def report(run: Path, spec: RunSpec | None, as_json: bool) -> int:
    """Print what a tuning found.

    Raises:
        RecordedProgramFailed: it ended before its end.
    """
    from profiler.rundir.reader import read_manifest

    manifest = read_manifest(run)
    if can_read():
        _show(run, spec, as_json)
    else:
        lines = [f"{run}: {manifest.status}", *(f"  {note}" for note in manifest.applied.get("notes") or [])]
        lines.append(f"what was found can be shown {WHERE_READ}")
        emit(
            as_json,
            {"run": str(run), "status": manifest.status},
            lambda: "\n".join(lines),
            f"diffuscope show {shlex.quote(str(run))}",
        )
    if manifest.status != "ok":
        failure = manifest.failure
        message = failure.message.splitlines()[0] if failure and failure.message else manifest.status
        raise RecordedProgramFailed(f"tuning ended as {manifest.status}: {message}", f"{run} holds what was found")
    return EXIT_OK


def _show(run: Path, spec: RunSpec | None, as_json: bool) -> None:
    from profiler.report.tune import tune_data, tune_text
    from profiler.tables.run import Run

    data = tune_data(Run.open(run))
    width = shutil.get_terminal_size((100, 24)).columns
    emit(as_json, data, lambda: tune_text(data, width), _next(spec, data["table"]))


def _next(spec: RunSpec | None, table: str) -> str:
    if spec is None:
        return "diffuscope tune flux-dev"
    options = f"{shape_options(spec.to_dict())}{tuned_option(table)}"
    return f"diffuscope record {shlex.quote(spec.model)} --scheme int8dq --compile regional{options}"


def _option(name: str) -> str:
    return "--size" if name in ("height", "width") else f"--{name.replace('_', '-')}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)

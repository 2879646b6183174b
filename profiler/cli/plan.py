"""`diffuscope plan`: the fastest scheme of every layer under a memory and a quality budget, from measurements or from a run."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from profiler.cli.output import JsonOption, emit
from profiler.cli.plan_output import PlanFile, free_path, record_command
from profiler.cli.record import parse_size, start_child
from profiler.cli.sizes import parse_bytes
from profiler.compilers.base import COMPILERS
from profiler.core.errors import EXIT_INTERRUPTED, EXIT_OK, MissingExtra, RecordedProgramFailed, Refused, UsageError
from profiler.core.lists import parse_list
from profiler.core.spec import DEVICES, RunSpec
from profiler.models.base import MODELS, find_model
from profiler.schemes.base import SCHEMES

Option = typer.Option


def command(
    model: Annotated[str, typer.Argument(help=f"{', '.join(MODELS)}, or module:function of your own.")],
    max_memory: Annotated[str | None, Option(help="The most model memory, for example 24GiB.")] = None,
    min_sqnr: Annotated[float, Option(help="The least SQNR of the transformer's output in dB.")] = 20.0,
    schemes: Annotated[str, Option(help="Only these, comma-separated; default: all that the device runs.")] = "",
    source: Annotated[
        Path | None, Option("--from", help="Predict from this bf16 run of a GPU instead of measuring here.")
    ] = None,
    compile: Annotated[
        str | None, Option(help="Compile mode that the plan is for; default: regional on a GPU, else none.")
    ] = None,
    fuse_qkv: Annotated[bool, Option("--fuse-qkv", help="With Q, K, V projections fused.")] = False,
    batch: Annotated[int | None, Option(help="Images or videos a call; default: 1, or the run's.")] = None,
    size: Annotated[str | None, Option(help="Pixels: N, or HEIGHTxWIDTH; default: the model's, or the run's.")] = None,
    frames: Annotated[int | None, Option(help="Video frames, 8 n + 1 for CogVideoX.")] = None,
    weights: Annotated[
        str | None, Option(help="Real weights, to measure the gains of noise with; default: random ones; not with --from.")
    ] = None,
    device: Annotated[str, Option(help="auto, cuda or cpu; not with --from.")] = "auto",
    whole_steps: Annotated[
        bool | None,
        Option(help="Measure whole steps of the plan and of the best single schemes too (the default); not with --from."),
    ] = None,
    out: Annotated[Path | None, Option("-o", "--out", help="Plan to write; default: a new plan-MODEL.json here.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Find the fastest scheme of every layer under a budget, for record --scheme plan.json."""
    from profiler.report.plan import make_plan, plan_text

    limit = parse_bytes("--max-memory", max_memory)
    names = parse_list("--schemes", schemes) if schemes else []
    height, width = parse_size(size)
    given = {"batch": batch, "height": height, "width": width, "frames": frames, "compile": compile}
    asked = {name: value for name, value in given.items() if value is not None}
    if source is not None:
        _refuse_measuring({"--weights": weights is not None, "--device": device != "auto", "--whole-steps": bool(whole_steps)})
    spec, hardware = _spec(model, source, asked | {"fuse_qkv": fuse_qkv, "weights": weights, "device": device})
    _check(spec, names, min_sqnr)
    path = out or _free(model)
    if path.exists() or path.suffix != ".json":
        why = "exists already" if path.exists() else "does not end with .json"
        raise UsageError(f"{path} {why}", "name another file with -o, for example -o plan.json")
    _refuse_unwritable(path)
    file = PlanFile(path)
    try:
        material = _gather(spec, names, hardware)
        content = make_plan(
            material, limit, min_sqnr, source, _measure(material) if whole_steps is not False else None, file.keep
        )
        file.write(content)
    except KeyboardInterrupt:
        return file.interrupted()
    columns = shutil.get_terminal_size((100, 24)).columns
    then = record_command(content, file.path)
    emit(as_json, {"plan": str(file.path)} | content, lambda: plan_text(content, columns), then)
    return EXIT_OK


def _refuse_unwritable(path: Path) -> None:
    """Before minutes of measuring, not after; a folder that is not there yet is made once there is a plan to put into it."""
    folder = next(each for each in path.absolute().parents if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}: {folder} is no folder that can be written to", "name a writable place with -o")


def _refuse_measuring(given: dict[str, bool]) -> None:
    """Nothing is measured with --from: what would change a measurement is not left out silently."""
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} is of measuring, and with --from nothing is measured", f"leave {option} or --from out")


def _spec(model: str, source: Path | None, asked: dict[str, Any]) -> tuple[RunSpec, dict[str, Any] | None]:
    """What to plan for, and the hardware of the run that the times are from; None where they are measured here."""
    if source is None:
        if "compile" not in asked:
            asked["compile"] = "auto"
        return RunSpec(model=model, **asked), None
    from profiler.rundir.reader import read_manifest

    manifest = read_manifest(source)
    gpu = manifest.environment.get("gpu") or {}
    if manifest.spec.get("model") != model:
        raise Refused(
            f"{source} is a run of {manifest.spec.get('model')}, and the plan is for {model}", "name a run of this model"
        )
    if not gpu:
        raise Refused(f"{source} was recorded without a GPU: there is nothing to predict from", "measure here: leave --from out")
    sizes = {name: manifest.spec.get(name) for name in ("batch", "height", "width", "frames", "guidance")}
    spec = {"compile": "regional"} | {name: value for name, value in sizes.items() if value is not None} | asked
    capability = gpu.get("capability")
    return RunSpec(model=model, **spec), {"device": "cuda", "capability": capability, "name": gpu.get("name") or ""}


def _check(spec: RunSpec, names: list[str], min_sqnr: float) -> None:
    """Refuse what is known to be wrong before a process starts."""
    for each in names:
        SCHEMES.get(each)
    if spec.compile != "auto":
        COMPILERS.get(spec.compile)
    if spec.device not in DEVICES:
        raise UsageError(f"--device {spec.device} is not known", f"choose from: {', '.join(DEVICES)}")
    if not -100 < min_sqnr < 200:
        raise UsageError(f"--min-sqnr {min_sqnr} is no number of dB", "for example 20")
    for name in ("batch", "height", "width", "frames"):
        value = getattr(spec, name)
        if value is not None and value < 1:
            raise UsageError(f"--{'size' if name in ('height', 'width') else name} is {value}, and must be at least 1")
    find_model(spec.model).resolve(spec)
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("plan", "record")


def _gather(spec: RunSpec, names: list[str], hardware: dict[str, Any] | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="diffuscope-plan-") as folder:
        answer = Path(folder) / "answer.json"
        request = {"spec": spec.to_dict(), "schemes": names, "hardware": hardware, "answer": str(answer)}
        code = start_child("profiler.plan", request)
        if code == 0:
            return dict(json.loads(answer.read_text(encoding="utf-8")))
    if code in (EXIT_INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    if code > 0:
        raise typer.Exit(code)
    name = signal.Signals(-code).name
    hint = "plan with fewer --schemes, or a smaller --batch" if -code == signal.SIGKILL else "plan again"
    raise RecordedProgramFailed(f"the planning process was killed by {name}: no plan was written", hint)


def _measure(material: dict[str, Any]) -> Callable[[dict[str, dict[str, str]]], dict[str, Any]]:
    from profiler.plan.whole_steps import measure_steps

    return lambda assignments: measure_steps(RunSpec.from_dict(material["spec"]), material["layers"], assignments)


def _free(model: str) -> Path:
    return free_path(Path("plan-" + "".join(each if each.isalnum() or each in "-_." else "-" for each in model) + ".json"))

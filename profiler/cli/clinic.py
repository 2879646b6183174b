"""`diffuscope clinic`: try the diagnosis on a planted fault."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profiler.cli.clinic_text import render, render_list
from profiler.cli.output import JsonOption, emit
from profiler.cli.record import run_child
from profiler.clinic.base import FAULTS, Fault
from profiler.core.errors import EXIT_CHECK_FAILED, EXIT_OK, CheckFailed, RecordedProgramFailed, Refused, UsageError

if TYPE_CHECKING:
    from profiler.core.spec import RunSpec
    from profiler.tables.run import Run

Option = typer.Option


def command(
    fault: Annotated[str | None, typer.Argument(help="A fault's name; without one, the faults are listed.")] = None,
    device: Annotated[str, Option(help="auto, cuda or cpu.")] = "auto",
    out: Annotated[Path | None, Option("-o", "--out", help="Folder to create for both runs; default: a temporary one.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Plant a known fault in a small pipeline and hold the diagnosis against it."""
    if fault is None:
        listed = [_listed(each) for each in FAULTS.values()]
        emit(as_json, {"faults": listed}, lambda: render_list(listed), "diffuscope clinic item-in-block")
        return EXIT_OK
    planted = FAULTS.get(fault)
    if out is not None and out.exists():
        raise UsageError(f"{out} exists already", "name another folder with -o: a run is never overwritten")
    folder = out or Path(tempfile.mkdtemp(prefix="diffuscope-clinic-"))
    folder.mkdir(parents=True, exist_ok=True)
    verdict = _try(planted, folder, _device(device, planted))
    data = {**_listed(planted), **verdict, "runs": str(folder)}
    emit(as_json, data, lambda: render(data), f"diffuscope diagnose {shlex.quote(str(folder / 'faulty'))}")
    return EXIT_OK if verdict["right"] else EXIT_CHECK_FAILED


def _listed(fault: Fault) -> dict[str, Any]:
    place = fault.place()
    return {
        "fault": fault.name,
        "summary": fault.summary,
        "planted": f"{place[0]}:{place[2]}" if place else None,
        "expects": list(fault.expects),
        "needs_cuda": fault.needs_cuda,
        "fix": fault.fix,
    }


def _device(asked: str, fault: Fault) -> str:
    import shutil

    # Whether there is a GPU is asked of the driver: this process never imports torch.
    device = asked if asked != "auto" else "cuda" if shutil.which("nvidia-smi") else "cpu"
    if device == "cpu" and fault.needs_cuda:
        raise Refused(f"{fault.name} shows on a GPU alone", "try another: diffuscope clinic lists them")
    return device


def _try(fault: Fault, folder: Path, device: str) -> dict[str, Any]:
    from profiler.clinic.verdict import judge
    from profiler.report.diagnose import diagnose, to_json

    fixed = _recorded(fault.fixed_spec(device), folder / "fixed")
    faulty = _recorded(fault.faulty_spec(device), folder / "faulty")
    return judge(fault, to_json(diagnose(faulty)), faulty.manifest, fixed.manifest).to_dict()


def _recorded(spec: RunSpec, path: Path) -> Run:
    from profiler.rundir.reader import is_run
    from profiler.tables.run import Run

    code = run_child(spec, path)
    if not is_run(path):
        raise CheckFailed(f"nothing was recorded (exit code {code})", "the recording process said why above")
    run = Run.open(path)
    if run.manifest.status != "ok":
        raise RecordedProgramFailed(f"the run ended as {run.manifest.status}", f"{path} holds what was recorded")
    return run

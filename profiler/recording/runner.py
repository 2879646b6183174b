"""Recording one run of a model from a spec: the recording process of `diffuscope record`."""

from __future__ import annotations

import gzip
import shutil
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from profiler.core.combinations import refuse_combination
from profiler.core.spec import RunSpec
from profiler.models.base import find_model
from profiler.models.user import accepted_kwargs, refuse_batch
from profiler.recording import phases, prepare
from profiler.recording.calls import PipelineCall
from profiler.recording.ceilings import measure_ceilings
from profiler.recording.checked_call import CheckedCall
from profiler.recording.device import find_hardware
from profiler.recording.environment import describe_environment, describe_switches
from profiler.recording.stage import Stage
from profiler.recording.tuned import apply_tuned
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.writer import RunWriter, process_identity
from profiler.schemes.plan import PlanScheme, find_scheme


def record_spec(spec: RunSpec, out: Path, command: str) -> str:
    """Record one run into a new directory; returns its status.

    Raises:
        UsageError, Refused: before the directory is made, where the spec or this machine cannot do it.
    """
    quiet_libraries()
    refuse_combination(spec, quantizes=find_scheme(spec.scheme).quantizes)
    model = find_model(spec.model)
    plan = prepare.look_up(model.resolve(spec), model, find_hardware(spec.device))
    prepare.refuse_early(plan)
    signal.signal(signal.SIGTERM, _interrupt)
    writer = RunWriter(out, start_manifest(plan.spec, command))
    writer.manifest.environment = describe_environment(plan.hardware)
    stage = Stage(writer, plan.device)
    error: BaseException | None = None
    try:
        _record(plan, stage)
    except BaseException as caught:  # noqa: BLE001 - every end of the recorded program is a result of the recording
        error = caught
    with undisturbed():
        return stage.close(error)


def start_manifest(spec: RunSpec, command: str) -> Manifest:
    """What is known before anything happens."""
    return Manifest(command=command, spec=spec.to_dict(), spec_hash=spec.hash, process=process_identity())


def _record(plan: prepare.Plan, stage: Stage) -> None:
    spec = plan.spec
    stage.history.start()
    stage.compile_log.attach()
    with stage.phase(layout.LOAD):
        pipe = prepare.load(plan)
        prepare.shape_weights(plan, pipe)
    with stage.phase(layout.QUANTIZE):
        plans = prepare.quantize_pipeline(plan, pipe)
        tuned = apply_tuned(spec, plan.hardware, pipe, plans)
    if isinstance(plan.scheme, PlanScheme):
        stage.writer.try_artifact(layout.PLAN, partial(shutil.copyfile, plan.scheme.file.path))
    compiled = prepare.compile_pipeline(plan, pipe)
    prepare.place_pipeline(plan, pipe)
    stage.manifest.applied = prepare.describe_applied(plan, pipe, plans, compiled, tuned)
    phases.note_weights(stage, pipe)
    if compiled:
        stage.save(layout.GRAPH_BREAK_REGISTRY, save_graph_break_registry)
    steps = spec.steps or 1
    # A pipeline of the user's own may choose its sizes itself.
    make_call = PipelineCall if ":" in spec.model else CheckedCall
    call = make_call(pipe, partial(_kwargs, plan, pipe), steps, plan.device)
    short = min(spec.trace_steps, steps)
    phases.run_phases(stage, call, trace_steps=short, warmup=spec.warmup, repeats=spec.repeats, wanted=spec.wanted_phases)
    stage.manifest.environment["switches"] = describe_switches()
    stage.manifest.environment["ceilings"] = measure_ceilings(stage.device)


def _kwargs(plan: prepare.Plan, pipe: Any, steps: int) -> dict[str, Any]:
    import torch

    # A CPU generator gives the same latents on every device.
    kwargs = plan.model.call_kwargs(plan.spec, steps) | {"generator": torch.Generator().manual_seed(plan.spec.seed)}
    taken = accepted_kwargs(pipe, kwargs)
    refuse_batch(pipe, kwargs, taken)
    return taken


def save_graph_break_registry(path: Path) -> None:
    """Keep torch's own registry of graph breaks beside the run: reasons are named by its ids."""
    import torch

    source = Path(torch.__file__).parent / "_dynamo" / "graph_break_registry.json"
    with source.open("rb") as read, gzip.open(path, "wb") as written:
        shutil.copyfileobj(read, written)


def quiet_libraries() -> None:
    """Silence what torchao, transformers and diffusers say at import: none of it is about the run."""
    import logging

    for name in ("torchao", "transformers", "diffusers", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(torchao|transformers|diffusers|torch)\b.*")


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not stop the sealing that the first one began."""
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt

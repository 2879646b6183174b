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
from profiler.core.launch import find_launch
from profiler.core.spec import RunSpec
from profiler.models.base import find_model
from profiler.models.parts import refuse_parallel
from profiler.models.user import accepted_kwargs, refuse_batch
from profiler.placement.parallel import apply_parallel
from profiler.recording import phases, prepare
from profiler.recording.calls import PipelineCall
from profiler.recording.ceilings import measure_ceilings
from profiler.recording.checked_call import CheckedCall
from profiler.recording.device import find_hardware
from profiler.recording.environment import describe_environment, describe_switches
from profiler.recording.noise import draw_noise_alike
from profiler.recording.ranks import Ranks, follows, join, open_writer, take_device
from profiler.recording.sparse_products import note_sparse_products
from profiler.recording.stage import Stage
from profiler.recording.tuned import apply_tuned
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.rundir.rank_writer import LeadWriter, RankWriter
from profiler.rundir.writer import RunWriter, process_identity
from profiler.schemes.plan import PlanScheme, find_scheme


def record_spec(spec: RunSpec, out: str, command: str) -> str:
    """Record one run into a new directory; returns its status. One of several ranks records its part of the run.

    Raises:
        UsageError, Refused: before the directory is made, where the spec or this machine cannot do it.
    """
    quiet_libraries()
    refuse_combination(spec, quantizes=find_scheme(spec.scheme).quantizes)
    model = find_model(spec.model)
    launch = find_launch() if spec.parallel is not None else None
    if launch is not None:
        refuse_parallel(model)
        take_device(launch, spec.device)
    plan = prepare.look_up(model.resolve(spec), model, find_hardware(spec.device))
    prepare.refuse_early(plan)
    ranks = join(launch, plan.device) if launch is not None else None
    # Not before the ranks have met: a process that waits for the others in C++ would never hear it.
    signal.signal(signal.SIGTERM, _interrupt)
    manifest = start_manifest(plan.spec, command)
    manifest.environment = describe_environment(plan.hardware)
    stage = _set_stage(plan, ranks, out, manifest)
    error: BaseException | None = None
    try:
        _record(plan, stage)
    except BaseException as caught:  # noqa: BLE001 - every end of the recorded program is a result of the recording
        error = caught
    if isinstance(stage.writer, LeadWriter | RankWriter):
        stage.writer.secondhand = follows(error)
    with undisturbed():
        status = stage.close(error)
    if ranks is not None and error is None:
        ranks.leave()
    return status


def _set_stage(plan: prepare.Plan, ranks: Ranks | None, out: str, manifest: Manifest) -> Stage:
    if ranks is None:
        return Stage(RunWriter(Path(out), manifest), plan.device)
    rank = ranks.launch.rank
    say = None if rank == 0 else _say_nothing
    return Stage(open_writer(ranks, out, manifest), plan.device, say, rank, line_up=ranks.line_up)


def _say_nothing(_line: str) -> None:
    """The other ranks go through the same phases."""


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
    if isinstance(plan.scheme, PlanScheme) and stage.rank == 0:
        stage.writer.try_artifact(layout.PLAN, partial(shutil.copyfile, plan.scheme.file.path))
    spread = apply_parallel(pipe.transformer, spec.parallel, plan.device) if spec.parallel else None
    compiled = prepare.compile_pipeline(plan, pipe)
    prepare.place_pipeline(plan, pipe)
    stage.manifest.applied = prepare.describe_applied(plan, pipe, plans, compiled, tuned)
    stage.manifest.applied |= {"parallel": spread} if spread else {}
    drawn = None if ":" in spec.model else draw_noise_alike(pipe)
    stage.manifest.applied |= {"noise_dtype": drawn} if drawn else {}
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
    note_sparse_products(stage.manifest)
    measure_ceilings(stage.device).note(stage.manifest)


def _kwargs(plan: prepare.Plan, pipe: Any, steps: int) -> dict[str, Any]:
    import torch

    # A CPU generator gives the same latents on every device; `noise.py` makes them those of every dtype.
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

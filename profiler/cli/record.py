"""`diffuscope record`: run a model in a child process and leave a run directory."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from profiler.cli.names import free_name
from profiler.cli.output import JsonOption, emit
from profiler.compilers.base import COMPILERS
from profiler.core.child import child_command
from profiler.core.combinations import refuse_combination
from profiler.core.errors import EXIT_OK, EXIT_RECORDED_FAILED, EXIT_USAGE, RecordedProgramFailed, UsageError
from profiler.core.launch import find_launch, parallel_of
from profiler.core.spec import PARALLEL, PHASES, RunSpec
from profiler.models.base import MODELS, find_model
from profiler.placement.base import OFFLOADS
from profiler.schemes.base import SCHEMES
from profiler.schemes.plan import find_scheme, refuse_other_model

Option = typer.Option


def command(
    model: Annotated[str, typer.Argument(help=f"{', '.join(MODELS)}, or module:function of your own.")],
    scheme: Annotated[str, Option(help=f"One of {', '.join(SCHEMES)}. Or a plan: plan.json.")] = "bf16",
    compile: Annotated[str, Option(help=f"One of {', '.join(COMPILERS)}.")] = "none",
    compile_vae: Annotated[bool, Option("--compile-vae", help="Compile the VAE's decode too.")] = False,
    fuse_qkv: Annotated[bool, Option("--fuse-qkv", help="Fuse Q, K, V projections before quantizing.")] = False,
    channels_last: Annotated[bool, Option("--channels-last", help="Convolutions in channels-last.")] = False,
    quantize_vae: Annotated[bool, Option("--quantize-vae", help="Quantize the VAE's Linears.")] = False,
    quantize_text_encoder: Annotated[
        bool, Option("--quantize-text-encoder", help="Quantize the text encoders' Linears (weight-only).")
    ] = False,
    quantize_on: Annotated[
        str, Option(help="Where to quantize: device, cpu, or per-layer (each weight moved first).")
    ] = "device",
    batch: Annotated[int, Option(help="Images or videos a call.")] = 1,
    steps: Annotated[int | None, Option(help="Denoising steps of a timed call; default: the model's.")] = None,
    trace_steps: Annotated[int, Option(help="Denoising steps of the traced call.")] = 4,
    size: Annotated[str | None, Option(help="Pixels: N, or HEIGHTxWIDTH.")] = None,
    frames: Annotated[int | None, Option(help="Video frames, 8 n + 1 for CogVideoX.")] = None,
    seed: Annotated[int, Option(help="Seed of the latents and of random weights.")] = 0,
    guidance: Annotated[float | None, Option(help="Guidance scale; default: the model's.")] = None,
    prompt: Annotated[str, Option(help="Prompt.")] = "an astronaut on the moon",
    warmup: Annotated[int, Option(help="Short calls before timing, beside the one that compiles.")] = 1,
    repeats: Annotated[int, Option(help="Timed calls.")] = 3,
    weights: Annotated[str | None, Option(help="Directory or repository of real weights; default: random ones.")] = None,
    inductor_defaults: Annotated[str, Option(help="torch, or torchao to let torchao set Inductor switches.")] = "torch",
    device: Annotated[str, Option(help="auto, cuda or cpu.")] = "auto",
    offload: Annotated[
        str, Option(help=f"Where weights lie: {', '.join(OFFLOADS)} (all but none: on the CPU until needed).")
    ] = "none",
    vae_tiling: Annotated[bool, Option("--vae-tiling", help="Decode the picture tile by tile.")] = False,
    vae_slicing: Annotated[bool, Option("--vae-slicing", help="Decode the batch one by one.")] = False,
    phases: Annotated[str, Option(help=f"What follows the warm-up: {','.join(PHASES)}, or a choice of them.")] = "all",
    out: Annotated[Path | None, Option("-o", "--out", help="Run directory to create; default: a new name in traces/.")] = None,
    parallel: Annotated[
        str | None, Option(help=f"Spread each call over the ranks that torchrun started: {', '.join(PARALLEL)}.")
    ] = None,
    tuned: Annotated[str, Option(help="Kernels of int8dq: auto (tuned ones where a table fits), a table, or off.")] = "auto",
    as_json: JsonOption = False,
) -> int:
    """Run an optimized pipeline, write a run directory, print its summary."""
    height, width = parse_size(size)
    launch = find_launch()
    spec = RunSpec(
        model=model,
        scheme=scheme,
        compile=compile,
        compile_vae=compile_vae,
        fuse_qkv=fuse_qkv,
        channels_last=channels_last,
        quantize_vae=quantize_vae,
        quantize_text_encoder=quantize_text_encoder,
        quantize_on=quantize_on,
        batch=batch,
        steps=steps,
        trace_steps=trace_steps,
        height=height,
        width=width,
        frames=frames,
        seed=seed,
        guidance=guidance,
        prompt=prompt,
        warmup=warmup,
        repeats=repeats,
        weights=weights,
        inductor_defaults=inductor_defaults,
        device=device,
        offload=offload,
        vae_tiling=vae_tiling,
        vae_slicing=vae_slicing,
        phases=phases,
        tuned=tuned,
        parallel=parallel_of(parallel, launch),
    )
    COMPILERS.get(compile)
    OFFLOADS.get(offload)
    found = find_scheme(scheme)
    refuse_other_model(found, model)
    refuse_combination(spec, quantizes=found.quantizes)
    find_model(model).resolve(spec)
    if spec.parallel is not None and launch is not None and launch.rank > 0:
        return record_beside(spec, out, launch.rank)
    ranks = f"-{parallel}{launch.world_size}" if spec.parallel is not None and launch is not None else ""
    run = out or free_name(f"{model}-{Path(scheme).stem}-{compile}{ranks}")
    if run.exists():
        raise UsageError(f"{run} exists already", "name another directory with -o: a run is never overwritten")
    return record(spec, run, as_json)


def record(spec: RunSpec, run: Path, as_json: bool) -> int:
    """Record in a child process, bury the run if the child died without a word, print the summary; the exit code."""
    import signal

    from profiler.rundir.reader import bury_on_disk, is_run, read_manifest
    from profiler.rundir.summary import summarize

    code = run_child(spec, run)
    if code == EXIT_USAGE or not is_run(run):
        # Refused before anything was made, as the child has said; what lies there now is the run of another.
        refuse_killed(code, "recording")
        return code or EXIT_USAGE
    if code < 0:
        status = "interrupted" if -code in (signal.SIGINT, signal.SIGTERM) else "failed"
        bury_on_disk(run, status, f"the recording process was killed by {signal.Signals(-code).name}")
    manifest = read_manifest(run)
    emit(
        as_json,
        {"run": str(run), "status": manifest.status},
        lambda: summarize(run, manifest),
        f"diffuscope show {shlex.quote(str(run))}",
    )
    if manifest.status != "ok":
        failure = manifest.failure
        message = failure.message.splitlines()[0] if failure and failure.message else manifest.status
        raise RecordedProgramFailed(f"the recorded run ended as {manifest.status}: {message}", f"{run} holds what was recorded")
    return EXIT_OK if code == 0 else EXIT_RECORDED_FAILED


def refuse_killed(code: int, what: str) -> None:
    """Say by which signal a child process died that made no run: it could not say so itself.

    Raises:
        RecordedProgramFailed: it was killed (its exit code is negative).
    """
    import signal

    if code < 0:
        message = f"the {what} process was killed by {signal.Signals(-code).name} before it made a run"
        raise RecordedProgramFailed(message, "the machine may be out of memory" if -code == signal.SIGKILL else "start it again")


def record_beside(spec: RunSpec, run: Path | None, rank: int) -> int:
    """Record another rank than the first in a child process: rank 0 makes the directory, prints and reports for all."""
    import signal

    from profiler.rundir.ranks import bury_rank

    code = run_child(spec, run or "")
    if code < 0 and run is not None and run.is_dir():
        bury_rank(run, rank, f"the recording process was killed by {signal.Signals(-code).name}")
    return code if code >= 0 else EXIT_RECORDED_FAILED


def parse_size(size: str | None) -> tuple[int | None, int | None]:
    """(height, width) in pixels of `1024` or `480x720`; (None, None) where nothing was given."""
    if size is None:
        return None, None
    parts = size.lower().split("x")
    if len(parts) > 2 or not all(each.isdecimal() and len(each) < 7 for each in parts):
        raise UsageError(f"--size {size} is no size", "give pixels as 1024, or HEIGHTxWIDTH as 480x720")
    return int(parts[0]), int(parts[-1])


def run_child(spec: RunSpec, run: Path | str) -> int:
    """Record in a child process; its exit code, negative where a signal killed it."""
    return start_child("profiler.recording", {"spec": spec.to_dict(), "out": str(run), "command": command_line()})


def command_line() -> str:
    """What the user typed."""
    return shlex.join(["diffuscope", *sys.argv[1:]])


def start_child(module: str, request: dict[str, Any]) -> int:
    """Run a process of the record side on a request; its exit code, negative where a signal killed it."""
    import signal
    import subprocess

    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    # The child's stdout joins our stderr: with --json our own stdout holds JSON alone.
    child = subprocess.Popen(child_command(module), stdin=subprocess.PIPE, stdout=sys.stderr, env=environment, text=True)
    assert child.stdin is not None
    # Who ends us (a CI job's time limit) means the recording: the child seals the run, and we wait for that.
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps(request))
            child.stdin.close()
        return _wait(child)
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(child: Any) -> int:
    while True:
        try:
            return int(child.wait())
        except KeyboardInterrupt:
            # Ctrl-C reached the child too: it seals the run, and we wait for that.
            continue

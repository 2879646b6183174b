"""`diffuscope sweep`: a grid of recordings, each in a process of its own, resumable, here or on a Ray cluster."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from profiler.cli.names import free_name
from profiler.cli.output import JsonOption, can_read, emit
from profiler.cli.record import command_line, parse_size
from profiler.cli.sizes import MOST_S
from profiler.compilers.base import COMPILERS
from profiler.core.errors import EXIT_OK, RecordedProgramFailed, UsageError
from profiler.core.lists import parse_list, parse_numbers
from profiler.core.spec import RunSpec
from profiler.models.base import MODELS
from profiler.sweep.caches import CHOICES, SHARED
from profiler.sweep.cells import INTERRUPTED, OK, QUEUED, RESULTS, Cell
from profiler.sweep.driver import Limits
from profiler.sweep.executors.base import EXECUTORS
from profiler.sweep.grid import SWITCHES
from profiler.sweep.presets import PRESETS, find_preset, with_defaults
from profiler.sweep.session import Request, plan_cells, sweep

Option = typer.Option


def command(
    model: Annotated[str | None, typer.Argument(help=f"{', '.join(MODELS)}, or module:function; default: the preset's.")] = None,
    preset: Annotated[str | None, Option(help="; ".join(f"{each.name}: {each.summary}" for each in PRESETS.values()))] = None,
    schemes: Annotated[str | None, Option(help="Schemes, comma-separated; of a preset only these.")] = None,
    compile: Annotated[
        str | None,
        Option(
            help=f"Compile modes, comma-separated: {', '.join(COMPILERS)}; of a preset's compiled rows; none: eager rows alone."
        ),
    ] = None,
    batch: Annotated[str | None, Option(help="Batch sizes, comma-separated; of a preset only these.")] = None,
    fuse_qkv: Annotated[bool, Option("--fuse-qkv", help="Each cell also with fused Q, K, V.")] = False,
    compile_vae: Annotated[bool, Option("--compile-vae", help="Each cell also with a compiled VAE.")] = False,
    quantize_vae: Annotated[bool, Option("--quantize-vae", help="Each cell also with a quantized VAE.")] = False,
    quantize_text_encoder: Annotated[
        bool, Option("--quantize-text-encoder", help="Each cell also with quantized text encoders.")
    ] = False,
    steps: Annotated[int | None, Option(help="Denoising steps of the answer; default: the model's.")] = None,
    extrapolate_from: Annotated[
        str | None, Option(help="Run only two step counts, for example 4,8, and extrapolate to --steps.")
    ] = None,
    time_limit: Annotated[float, Option(min=1, max=MOST_S, help="Seconds of one cell.")] = 900.0,
    limit_s: Annotated[
        float | None, Option(min=1, max=MOST_S, help="Seconds of this sweep: no cell starts that cannot end in them.")
    ] = None,
    executor: Annotated[str, Option(help=f"Where cells run: {', '.join(EXECUTORS)}.")] = "local",
    retry: Annotated[bool, Option("--retry", help="Run again what failed, ran out of memory or took too long.")] = False,
    fresh: Annotated[
        bool, Option("--fresh", help="Each cell imports its libraries itself; else it is forked with them.")
    ] = False,
    cache: Annotated[str, Option(help=f"Compile caches: {', '.join(CHOICES)} (an empty one for each cell).")] = SHARED,
    trace_steps: Annotated[
        int | None, Option(help="Denoising steps of the traced call; default: 4, of the preset quick 1.")
    ] = None,
    size: Annotated[str | None, Option(help="Pixels: N, or HEIGHTxWIDTH.")] = None,
    frames: Annotated[int | None, Option(help="Video frames, 8 n + 1 for CogVideoX.")] = None,
    seed: Annotated[int, Option(help="Seed of the latents and of random weights.")] = 0,
    guidance: Annotated[float | None, Option(help="Guidance scale; default: the model's.")] = None,
    prompt: Annotated[str, Option(help="Prompt.")] = RunSpec.prompt,
    warmup: Annotated[
        int | None, Option(help="Short calls before timing, beside the one that compiles; default: 1, of the preset quick 0.")
    ] = None,
    repeats: Annotated[int, Option(help="Timed calls.")] = 3,
    weights: Annotated[str | None, Option(help="Directory or repository of real weights; default: random ones.")] = None,
    device: Annotated[str, Option(help="auto, cuda or cpu.")] = "auto",
    phases: Annotated[str, Option(help="What each cell records after its warm-up, as `record --phases`.")] = "timed,traced",
    against: Annotated[str | None, Option(help="Tables to hold the answer against: seed.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="List the cells, and what each is by now; run nothing.")] = False,
    out: Annotated[Path | None, Option("-o", "--out", help="The sweep's folder; one that exists goes on.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Record every combination of schemes and options, each in a process of its own; what is done is never done again."""
    name = _model(model, preset)
    height, width = parse_size(size)
    given = {
        "model": name,
        "steps": steps,
        "trace_steps": trace_steps,
        "height": height,
        "width": width,
        "frames": frames,
        "seed": seed,
        "guidance": guidance,
        "prompt": prompt,
        "warmup": warmup,
        "repeats": repeats,
        "weights": weights,
        "device": device,
        "phases": phases,
    }
    base = RunSpec(**with_defaults(preset, given))
    if cache not in CHOICES:
        raise UsageError(f"--cache {cache} is not known", f"choose from: {', '.join(CHOICES)}")
    for each in parse_list("--compile", compile) if compile else ():
        COMPILERS.get(each)
    EXECUTORS.get(executor)
    if against not in (None, "seed"):
        raise UsageError(f"--against {against} is not known", "choose from: seed")
    switches = (fuse_qkv, compile_vae, quantize_vae, quantize_text_encoder)
    request = Request(
        base=base,
        out=out or free_name(f"sweep-{preset or name}"),
        schemes=parse_list("--schemes", schemes) if schemes else None,
        compile=parse_list("--compile", compile) if compile else None,
        batch=parse_numbers("--batch", batch) if batch else None,
        switches=[name for name, given in zip(SWITCHES, switches, strict=True) if given],
        preset=preset,
        executor=executor,
        limits=Limits(cell_s=time_limit, all_s=limit_s),
        from_steps=_from_steps(extrapolate_from, trace_steps) if extrapolate_from else None,
        cache=cache,
        retry=retry,
        fresh=fresh,
        command=command_line(),
    )
    return _list(request, as_json) if dry_run else _run(request, against, as_json)


def _model(model: str | None, preset: str | None) -> str:
    if model is None and preset is None:
        raise UsageError("nothing to sweep was named", f"name a model, or --preset {', '.join(PRESETS)}")
    return model or find_preset(preset or "").model


def _from_steps(given: str, trace_steps: int | None) -> list[int]:
    """The two step counts; the shorter calls are the traced one and those as long as it."""
    counts = parse_numbers("--extrapolate-from", given)
    if trace_steps not in (None, counts[0]):
        raise UsageError(
            f"--trace-steps {trace_steps} beside --extrapolate-from {given}, whose traced call has {counts[0]} steps",
            "leave --trace-steps out",
        )
    return counts


def _list(request: Request, as_json: bool) -> int:
    from profiler.cli.sweep_text import cells_text
    from profiler.sweep.folder import look

    cells = look(request.out, request.base.model, plan_cells(request)[0], request.retry)
    emit(as_json, {"cells": [each.to_dict() for each in cells]}, lambda: cells_text(cells))
    return EXIT_OK


def _run(request: Request, against: str | None, as_json: bool) -> int:
    from profiler.cli.sweep_answer import Asked, print_answer, print_results
    from profiler.sweep.folder import look, read_cells
    from profiler.sweep.live import LiveView

    asked, steps = plan_cells(request)
    _tell_kept(look(request.out, request.base.model, asked, request.retry))
    with LiveView(request.out, steps) as view:
        status = sweep(request, view)
    if can_read():
        print_answer(request.out, Asked(against), as_json)
    else:
        print_results(request.out, steps, status, Asked(against), as_json)
    cells = read_cells(request.out)
    counts = Counter(each.status for each in cells)
    if status != "ok":
        raise _unfinished(request, cells, counts)
    if not counts.get("ok"):
        logs = request.out / "logs"
        # A cell that is refused never begins, and prints nothing.
        where = f"see {shlex.quote(str(logs))}" if logs.is_dir() and any(logs.iterdir()) else "the reasons stand beside the cells"
        raise RecordedProgramFailed("no cell of the sweep went well", where)
    return EXIT_OK


def _tell_kept(cells: list[Cell]) -> None:
    """What of the cells asked for is not run again."""
    kept = [each.status for each in cells if each.status in RESULTS]
    bad = len(kept) - kept.count(OK)
    again = f"; --retry runs the {bad} again that did not go well" if bad else ""
    if kept:
        print(f"{len(kept)} of {len(cells)} cells have a result already{again}", file=sys.stderr)


def _unfinished(request: Request, cells: list[Cell], counts: Counter[str]) -> RecordedProgramFailed:
    """What is left, and of a sweep of limited time why the first of it is; the others say it in the table."""
    left = ", ".join(f"{count} {status}" for status, count in counts.items())
    where = f"{request.out} holds what was recorded; the same command goes on"
    why = next((f"{each.id}: {each.reason}" for each in cells if each.status in (QUEUED, INTERRUPTED) and each.reason), None)
    if request.limits.all_s is None or why is None:
        return RecordedProgramFailed(f"the sweep is not finished: {left}", where)
    return RecordedProgramFailed(f"the sweep is not finished: {left}; {why}", f"raise --limit-s; {where}")

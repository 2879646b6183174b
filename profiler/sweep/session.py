"""A whole sweep: from what was asked to a folder in which every cell has a result, or is still asked for."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from profiler.core.combinations import refuse_values
from profiler.core.errors import DiffuscopeError, RecordedProgramFailed, UsageError
from profiler.core.plan_file import names_plan
from profiler.core.spec import RunSpec
from profiler.models.base import find_model
from profiler.schemes.plan import find_scheme
from profiler.sweep.caches import SHARED
from profiler.sweep.cells import Cell, make_cells
from profiler.sweep.choose import Asked, choose
from profiler.sweep.commands import record_command
from profiler.sweep.driver import FULL, Driver, Limits, View
from profiler.sweep.executors.base import EXECUTORS, Site
from profiler.sweep.folder import Header, SweepFolder
from profiler.sweep.grid import Grid, refuse_steps, resolve
from profiler.sweep.order import in_order
from profiler.sweep.presets import find_preset, gpu_here, with_plans
from profiler.sweep.refusals import refuse_cells
from profiler.sweep.work import CHILD


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to sweep.

    Attributes:
        base: what all cells have in common; its `steps` are those of the answer.
        schemes, compile, batch: the values of an axis; None where the user named none. Under a preset of the seed they choose
            among its rows, and `compile` is what a compiled row stands for ("none" alone: eager rows alone).
        switches: options that are tried both off and on.
        from_steps: the two step counts that are run where `steps` are extrapolated; None to run them.
        retry: run again what failed, ran out of memory or took too long.
        fresh: each cell imports its libraries itself.
    """

    base: RunSpec
    out: Path
    schemes: list[str] | None = None
    compile: list[str] | None = None
    batch: list[int] | None = None
    switches: list[str] | None = None
    preset: str | None = None
    executor: str = "local"
    limits: Limits = field(default_factory=Limits)
    from_steps: list[int] | None = None
    cache: str = SHARED
    retry: bool = False
    fresh: bool = False
    command: str = ""
    child: str = CHILD


def plan_cells(request: Request) -> tuple[list[Cell], int | None]:
    """The cells in their order, those that cannot be marked as refused, and the steps of the answer.

    Raises:
        UsageError: a preset has no row of what is asked for, or what all cells share cannot be meant.
    """
    base = request.base
    refuse_values(base)
    steps = find_model(base.model).resolve(base).steps
    if request.from_steps:
        refuse_steps(steps, request.from_steps)
        if base.repeats < 2:
            raise UsageError("--extrapolate-from needs the spread of at least two calls", "give --repeats 2 or more")
        if not {"timed", "traced"} <= set(base.wanted_phases):
            # The shorter calls are the untraced ones, which come with the traced phase.
            raise UsageError("--extrapolate-from needs the phases timed and traced", "leave --phases out")
        base = replace(base, trace_steps=request.from_steps[0], steps=request.from_steps[1])
    specs = resolve(_specs(request, base))
    group = find_preset(request.preset).group if request.preset else None
    made = make_cells(specs)
    cells = in_order(made, partial(group, gpu=gpu_here())) if group else in_order(made)
    refuse_cells(cells)
    return cells, steps if request.from_steps else specs[0].steps


def _specs(request: Request, base: RunSpec) -> list[RunSpec]:
    if request.preset is None:
        _refuse_unknown(request.schemes or [])
        axes: dict[str, Any] = {"schemes": request.schemes, "compile": request.compile, "batch": request.batch}
        return Grid(switches=request.switches or (), **{name: each for name, each in axes.items() if each}).specs(base)
    preset = find_preset(request.preset)
    asked = Asked(
        schemes=request.schemes or (), compile=request.compile or (), batch=request.batch or (), switches=request.switches or ()
    )
    rows = preset.specs(base, asked.compile)
    # A row of the seed may have a scheme that there is no more: that is a result.
    known = {each.scheme for each in preset.specs(base, ())}
    _refuse_unknown([each for each in asked.schemes if each not in known])
    return choose(preset.name, with_plans(rows, [each for each in asked.schemes if names_plan(each)]), asked)


def _refuse_unknown(schemes: list[str]) -> None:
    """A scheme that is named on the command line and does not exist is a slip, and no result."""
    for each in schemes:
        find_scheme(each)


def sweep(request: Request, view: View) -> str:
    """Run every cell that has no result yet; the sweep's status: ok or interrupted.

    Raises:
        UsageError, Refused, MissingExtra, UnreadableInput: before any cell runs; UsageError also where the disk is full.
        RecordedProgramFailed: the executor can begin nothing any more.
    """
    cells, steps = plan_cells(request)
    make_executor = EXECUTORS.get(request.executor)
    folder = SweepFolder(request.out, _header(request, steps), _spec(request), request.command)
    try:
        folder.begin(cells, request.retry)
        # The folder of caches is read while torch is imported: where each cell has one of its own, each imports torch.
        warm = not request.fresh and request.cache == SHARED
        site = Site(
            work=folder.work.absolute(),
            cache=folder.cache.absolute(),
            device=request.base.device,
            warm=warm,
            limit_s=request.limits.all_s,
        )
        executor = make_executor(site)
        try:
            driver = Driver(
                folder, executor, view, request.limits, lambda cell: record_command(cell.spec), request.cache, request.child
            )
            return driver.run()
        finally:
            executor.close()
    except DiffuscopeError as error:
        folder.write_manifest("interrupted" if isinstance(error, RecordedProgramFailed) else "refused", error.message)
        raise
    except KeyboardInterrupt:
        folder.write_manifest("interrupted", "stopped before the first cell began")
        raise
    except OSError as error:
        # What runs was ended by the executor; the cells that had ended are on disk.
        with contextlib.suppress(OSError):
            folder.write_manifest("interrupted", error.strerror)
        what = "make room" if error.errno in FULL else f"make {error.filename or request.out} writable"
        raise UsageError(f"cannot write to {request.out}: {error.strerror}", f"{what}; the same command then goes on") from error
    finally:
        folder.close()


def _header(request: Request, steps: int | None) -> Header:
    return Header(
        model=request.base.model,
        preset=request.preset,
        executor=request.executor,
        steps=steps,
        time_limit_s=request.limits.cell_s,
    )


def _spec(request: Request) -> dict[str, Any]:
    """The sweep as asked. What varies goes by names of its own: a run's `compile` is one mode."""
    varied = {
        "schemes": request.schemes,
        "compile_modes": request.compile,
        "batches": request.batch,
        "switches": request.switches,
        "preset": request.preset,
        "executor": request.executor,
        "extrapolate_from": request.from_steps,
        "time_limit_s": request.limits.cell_s,
        "limit_s": request.limits.all_s,
        "cache": request.cache,
    }
    shown = ("model", "steps", "height", "width", "frames", "seed", "device", "weights", "repeats", "phases")
    return {name: getattr(request.base, name) for name in shown} | varied

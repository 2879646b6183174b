"""The explaining process: reads a request as JSON from standard input, writes what dynamo would do as JSON to standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from typing import Any

from profiler.core.errors import EXIT_INTERRUPTED, EXIT_OK, DiffuscopeError
from profiler.core.imports import uncollected
from profiler.core.spec import RunSpec
from profiler.models.base import Model, find_model
from profiler.recording.explain_cut import cut_to_cpu
from profiler.recording.explain_parts import Part, find_parts, select
from profiler.recording.explain_trace import Traced, trace
from profiler.recording.explain_vary import label, varied, vary
from profiler.recording.quiet import set_quiet_environment

# Inputs of a part that has to run on the CPU: text tokens, pixels, frames.
_SMALL_TOKENS, _SMALL_PIXELS, _SMALL_FRAMES = 16, 64, 9


def main() -> int:
    """Explain what the request says: {"spec": ..., "vary": [...], "parts": [...]}."""
    request = json.load(sys.stdin)
    set_quiet_environment()
    # What the user's modules print must not end up in the JSON.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        result = explain(RunSpec.from_dict(request["spec"]), request["vary"], request["parts"])
    except DiffuscopeError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    with answer:
        json.dump(result, answer)
    return EXIT_OK


def explain(spec: RunSpec, vary_over: list[str], asked: list[str]) -> dict[str, Any]:
    """Graphs, breaks, guards and coming recompiles of each asked part (all where none is named).

    Raises:
        UsageError: a part, a size or a dimension that the model does not have.
    """
    _quiet()
    parts, filled, limits = find_parts(find_model(spec.model), spec)
    chosen = select(parts, asked)
    values = {each: [label(s, each) for s in _values(filled, each, limits)] for each in vary_over}
    rows = [explain_part(part, filled, vary_over, limits) for part in chosen]
    shown = ("model", "batch", "height", "width", "frames")
    return {"spec": {name: getattr(filled, name) for name in shown}, "vary": values, "parts": rows}


def explain_part(part: Part, spec: RunSpec, vary_over: list[str], limits: Model) -> dict[str, Any]:
    """One part's row; whatever goes wrong with it is its `error`."""
    start = time.perf_counter()
    row: dict[str, Any] = {"name": part.name, "graphs": 0, "breaks": [], "recompiles": [], "op_count": 0, "guards": 0}
    row |= {"device": part.device, "depth": "full"}
    try:
        traced, spec, tokens = _trace(part, spec, row)
        row |= _result(traced)
        for dimension in vary_over if traced.error is None else []:
            row["recompiles"] += _recompiles(part, _values(spec, dimension, limits), dimension, tokens)
    except Exception as error:  # noqa: BLE001 - the other parts still come
        row["error"] = f"{type(error).__name__}: {error}"
    row["seconds"] = round(time.perf_counter() - start, 2)
    sys.stderr.write(f"{part.name:<16} {row['seconds']:>6.1f} s\n")
    return row


def _trace(part: Part, spec: RunSpec, row: dict[str, Any]) -> tuple[Traced, RunSpec, int | None]:
    """The part traced where it is or, where that needs values that the meta device does not have, cut on the CPU."""
    traced = trace(part.call, *part.inputs(spec, None))
    if traced.error is None or part.device != "meta":
        return traced, spec, None
    row["meta_error"] = f"{type(traced.error).__name__}: {traced.error}".splitlines()[0]
    small = _small(spec)
    left = cut_to_cpu(part.module, spec.seed, part.name)
    size = f"{small.height}x{small.width}" + (f", {small.frames} frames" if small.frames else "")
    row |= {"device": part.device, "depth": f"{left}; random weights, {size}, {_SMALL_TOKENS} text tokens"}
    again = trace(part.call, *part.inputs(small, _SMALL_TOKENS))
    known = {each.key for each in again.breaks}
    again.breaks += [each for each in traced.breaks if each.key not in known]
    return again, small, _SMALL_TOKENS


def _small(spec: RunSpec) -> RunSpec:
    height, width = (min(int(each or _SMALL_PIXELS), _SMALL_PIXELS) for each in (spec.height, spec.width))
    return replace(spec, height=height, width=width, frames=min(spec.frames, _SMALL_FRAMES) if spec.frames else None)


def _result(traced: Traced) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(traced, name) for name in ("graphs", "op_count", "guards", "recompiles")}
    row["breaks"] = [each.to_dict() for each in traced.breaks]
    if traced.error is not None:
        row["error"] = f"{type(traced.error).__name__}: {traced.error}"
    return row


def _recompiles(part: Part, specs: list[RunSpec], dimension: str, tokens: int | None) -> list[dict[str, Any]]:
    try:
        return vary(part.call, lambda each: part.inputs(each, tokens), specs, dimension)
    except Exception as error:  # noqa: BLE001 - the other dimensions still come
        return [{"vary": dimension, "guard": "", "error": f"{type(error).__name__}: {error}"}]


def _values(spec: RunSpec, dimension: str, limits: Model) -> list[RunSpec]:
    return varied(spec, dimension, limits.size_multiple, limits.frames_multiple)


def _quiet() -> None:
    """Silence the libraries and torch's own logs: they say less than the answer does."""
    import logging

    with uncollected():
        import torch._logging

    from profiler.recording.compile_counts import keep_every_compile
    from profiler.recording.runner import quiet_libraries

    quiet_libraries()
    torch._logging.set_logs(all=logging.CRITICAL)
    keep_every_compile()


if __name__ == "__main__":
    sys.exit(main())

"""Which guard fails when one dimension of the input changes: the recompiles that a user will meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.recording.explain_trace import Call, call_quietly, compiles_so_far, recompiles_since

DIMENSIONS = ("size", "batch", "frames")
Inputs = Callable[[RunSpec], tuple[tuple[Any, ...], dict[str, Any]]]


def varied(spec: RunSpec, dimension: str, size_multiple: int, frames_multiple: int) -> list[RunSpec]:
    """The spec itself and two more that differ from it, and from each other, in that dimension alone.

    A size keeps its shape (about a quarter more each time).

    Raises:
        UsageError: the pipeline makes no video and `frames` was asked, or there is no such dimension.
    """
    if dimension == "batch":
        return [replace(spec, batch=spec.batch + more) for more in range(3)]
    if dimension == "size":
        height, width = int(spec.height or 0), int(spec.width or 0)
        step = max(1, size_multiple)
        more = [max(step, round(pixels / 4 / step) * step) for pixels in (height, width)]
        return [replace(spec, height=height + n * more[0], width=width + n * more[1]) for n in range(3)]
    if dimension == "frames":
        if spec.frames is None:
            raise UsageError(f"--vary frames was asked, and {spec.model} makes images", "vary size or batch")
        return [replace(spec, frames=spec.frames + n * frames_multiple) for n in range(3)]
    raise UsageError(f"--vary {dimension} is not known", f"choose from: {', '.join(DIMENSIONS)}")


def label(spec: RunSpec, dimension: str) -> str:
    """The value of a dimension as people write it: `1024x768`, `2`."""
    return f"{spec.height}x{spec.width}" if dimension == "size" else str(getattr(spec, dimension))


def vary(call: Call, inputs: Inputs, specs: list[RunSpec], dimension: str) -> list[dict[str, Any]]:
    """The functions that the second value recompiles, each with the guard that a third value fails (None: it fails none).

    Nothing where the inputs do not change.

    Compiled as a user compiles: dimensions that changed once become dynamic.
    """
    import torch

    prepared = [inputs(each) for each in specs]
    if _shapes(prepared[0]) == _shapes(prepared[1]):
        return []
    torch._dynamo.reset()
    compiled = torch.compile(call, backend="eager")
    rows = []
    for args, kwargs in prepared:
        before = compiles_so_far()
        call_quietly(compiled, args, kwargs)
        rows.append(recompiles_since(before))
    torch._dynamo.reset()
    values = dict(zip(("from", "to", "third"), (label(each, dimension) for each in specs), strict=True))
    third = {_place(each): each["guard"] for each in rows[2]}
    return [{"vary": dimension, **each, **values, "third_guard": third.get(_place(each))} for each in rows[1]]


def _place(row: dict[str, Any]) -> tuple[str, int, str]:
    return row["file"], row["line"], row["function"]


def _shapes(prepared: tuple[tuple[Any, ...], dict[str, Any]]) -> list[Any]:
    from torch.utils._pytree import tree_leaves

    return [tuple(each.shape) if hasattr(each, "shape") else each for each in tree_leaves(prepared)]

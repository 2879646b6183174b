"""Every int8 product that a model issues in a step, with its count: from the meta device, no weights needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from profiler.core.errors import DiffuscopeError, UsageError
from profiler.core.spec import RunSpec
from profiler.kernels.candidate import Shape
from profiler.models.base import find_model
from profiler.recording.explain_parts import Part, find_parts
from profiler.schemes.apply import list_linears
from profiler.schemes.base import SCHEMES, LinearInfo
from profiler.schemes.policy import plan_linears
from profiler.schemes.tuned import SCHEME

_TRANSFORMER = "transformer"


@dataclass(frozen=True)
class Wanted:
    """A shape to tune, and how often a step issues it (1 where it was named by hand, 0 if beside a model without it)."""

    shape: Shape
    count: int = 1


def shapes_of_model(spec: RunSpec) -> tuple[list[Wanted], RunSpec]:
    """The shapes that int8dq multiplies in a step of the spec's model, the heaviest first, and the spec filled in.

    All Linears that the scheme's policy quantizes in an eager run; a compiled run has the same or fewer.

    Raises:
        UsageError: the spec asks for what the model cannot do, or nothing in it runs in int8.
    """
    parts, filled, _ = find_parts(find_model(spec.model), spec)
    part = next((each for each in parts if each.name == _TRANSFORMER), None)
    if part is None:
        raise UsageError(f"{spec.model} has no transformer", "name the shapes: --shape MxKxN")
    try:
        if filled.fuse_qkv:
            part.module.fuse_qkv_projections()
        calls = _calls(part, filled)
    except DiffuscopeError:
        raise
    except Exception as error:
        what = (
            f"the forward of {spec.model}'s transformer does not run on the {part.device} device: {type(error).__name__}: {error}"
        )
        raise UsageError(what.splitlines()[0], "name the shapes: --shape MxKxN") from error
    counts = _count(part.module, calls)
    if not counts:
        raise UsageError(f"no Linear of {spec.model} runs in int8 at this size and batch", "name the shapes: --shape MxKxN")
    return sort([Wanted(shape, count) for shape, count in counts.items()]), filled


def sort(shapes: Iterable[Wanted]) -> list[Wanted]:
    """The shapes that a step spends most on first."""
    return sorted(shapes, key=lambda each: (-each.count * each.shape.ops, -each.shape.ops, each.shape))


def _calls(part: Part, spec: RunSpec) -> dict[str, Counter[int]]:
    """Rows of each Linear's input by its name, and how often each number of rows occurs in one forward."""
    import torch

    seen: dict[str, Counter[int]] = {}

    def note(name: str) -> Callable[[Any, Any], None]:
        def hook(_module: Any, inputs: Any) -> None:
            seen.setdefault(name, Counter())[inputs[0].numel() // inputs[0].shape[-1]] += 1

        return hook

    linears = [(name, each) for name, each in part.module.named_modules() if isinstance(each, torch.nn.Linear)]
    hooks = [module.register_forward_pre_hook(note(name)) for name, module in linears]
    args, kwargs = part.inputs(spec, None)
    try:
        with torch.no_grad(), torch.device(part.device):
            part.module(*args, **kwargs)
    finally:
        for each in hooks:
            each.remove()
    return seen


def _count(module: Any, calls: dict[str, Counter[int]]) -> Counter[Shape]:
    counts: Counter[Shape] = Counter()
    for rows in sorted({each for counter in calls.values() for each in counter}):
        infos = list_linears(module, {name: rows for name, counter in calls.items() if rows in counter}, ())
        counts.update(_planned(infos, calls, rows))
    return counts


def _planned(infos: list[LinearInfo], calls: dict[str, Counter[int]], rows: int) -> Counter[Shape]:
    counts: Counter[Shape] = Counter()
    for plan in plan_linears(SCHEMES.get(SCHEME), infos, compiling=False):
        if plan.scheme == SCHEME and plan.rows == rows:
            counts[Shape(rows, plan.in_features, plan.out_features)] += calls[plan.module][rows]
    return counts

"""The Linears of a model and what each of them may get, found on the meta device: no weights, no memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from profiler.compilers.base import COMPILERS
from profiler.core.errors import DiffuscopeError, UsageError
from profiler.core.spec import RunSpec
from profiler.models.base import find_model
from profiler.recording.explain_parts import Part, find_parts
from profiler.schemes.apply import list_linears
from profiler.schemes.base import LinearInfo, Scheme
from profiler.schemes.policy import LEFT, plan_linears

PART = "transformer"
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


@dataclass(frozen=True)
class Layers:
    """A model's Linears.

    Attributes:
        spec: the model's spec, filled in.
        linears: in the order of the module; `rows` is M of one call, None where it is never called.
        calls: name -> how often it is called in a step.
        outcomes: scheme -> what its layer policy gives each Linear, in their order.
        other_bytes: of all that no plan changes: other parts, biases, norms, at the size of their dtype.
        known_inputs: whether a call of the transformer can be made on any device; else it was seen in a call of its pipeline.
    """

    spec: RunSpec
    linears: list[LinearInfo]
    calls: dict[str, int]
    outcomes: dict[str, list[str]]
    other_bytes: int
    known_inputs: bool = True

    def choices(self, index: int) -> list[str]:
        """What one Linear may get: to be left, and what any of the schemes would give it."""
        return list(dict.fromkeys([LEFT, *(outcome[index] for outcome in self.outcomes.values())]))


def kind_of(module: str) -> str:
    """A layer's name with the numbers of its blocks left out: layers of one kind do the same work."""
    return _NUMBER.sub("*", module)


def find_layers(spec: RunSpec, schemes: Iterable[Scheme]) -> Layers:
    """The Linears of a model's transformer at the spec's sizes.

    Raises:
        UsageError: the model has no transformer, or its forward does not run on the meta device.
    """
    parts, filled, _ = find_parts(find_model(spec.model), spec)
    part = next((each for each in parts if each.name == PART), None)
    if part is None:
        raise UsageError(f"{spec.model} has no transformer to plan for", "plan a model that has one")
    if filled.fuse_qkv:
        part.module.fuse_qkv_projections()
    compiler = COMPILERS.get(filled.compile)
    rows, calls = _rows(part, filled)
    linears = list_linears(part.module, rows, compiler.regions(part.module), prefix=f"{PART}.")
    compiling = compiler.name != "none"
    outcomes = {each.name: [one.scheme for one in plan_linears(each, linears, compiling=compiling)] for each in schemes}
    planned = sum(each.in_features * each.out_features for each in linears) * 2
    counts = {f"{PART}.{name}": count for name, count in calls.items()}
    other = sum(_bytes(each.module) for each in parts) - planned
    return Layers(filled, linears, counts, outcomes, other, known_inputs=part.remade)


def _rows(part: Part, spec: RunSpec) -> tuple[dict[str, int], Counter[str]]:
    import torch

    rows: dict[str, int] = {}
    calls: Counter[str] = Counter()

    def note(name: str) -> Any:
        def hook(_module: Any, inputs: Any) -> None:
            rows[name] = inputs[0].numel() // inputs[0].shape[-1]
            calls[name] += 1

        return hook

    linears = [(name, each) for name, each in part.module.named_modules() if isinstance(each, torch.nn.Linear)]
    hooks = [each.register_forward_pre_hook(note(name)) for name, each in linears]
    try:
        args, kwargs = part.inputs(spec, None)
        with torch.no_grad(), torch.device(part.device):
            part.module(*args, **kwargs)
    except DiffuscopeError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else ""
        what = f"the transformer of {spec.model} does not run on the {part.device} device: {type(error).__name__}: {first}"
        raise UsageError(what, "plan a registered model") from error
    finally:
        for each in hooks:
            each.remove()
    return rows, calls


def _bytes(module: Any) -> int:
    return sum(each.numel() * each.element_size() for each in (*module.parameters(), *module.buffers()))

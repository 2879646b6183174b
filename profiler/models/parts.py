"""What one rank's part of a transformer is under diffusers' context parallelism, and which transformers can be dealt out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiler.core.errors import Refused, UsageError
from profiler.models.base import MODELS, Model
from profiler.models.rows import rows_on_meta


def refuse_parallel(model: Model) -> None:
    """Raise Refused for a registered model whose transformer diffusers cannot spread; the user's own are seen once built."""
    if not model.context_parallel and model.name in MODELS:
        able = [each.name for each in MODELS.values() if each.context_parallel]
        raise Refused(
            f"--parallel: diffusers has no context-parallel plan for the transformer of {model.name}",
            f"models that it can spread: {', '.join(able)}",
        )


def rows_of_a_part(transformer: Any, inputs: Any, degree: int) -> dict[str, int]:
    """M of every Linear of one rank's part: the forward on the meta device with the inputs split as diffusers splits them.

    Args:
        inputs: (component) -> keyword arguments of one whole call.
    """
    split = _splits(transformer)

    def call(twin: Any) -> None:
        given = inputs(twin)
        twin(**given | {name: given[name].chunk(degree, dim=at)[0] for name, at in split.items() if given.get(name) is not None})

    return rows_on_meta(transformer, call)


def _splits(transformer: Any) -> dict[str, int]:
    """The dimension along which each input is split, by its name."""
    plan = _plan_of(transformer).get("", {})
    return {name: each.split_dim for name, each in plan.items() if isinstance(name, str) and not isinstance(each, list | tuple)}


def _plan_of(transformer: Any) -> Mapping[str, Any]:
    plan = getattr(transformer, "_cp_plan", None)
    if not isinstance(plan, Mapping) or not callable(getattr(transformer, "enable_parallelism", None)):
        raise UsageError(
            f"--parallel: diffusers has no context-parallel plan for a {type(transformer).__name__}", "leave --parallel out"
        )
    return plan


def refuse_sizes(transformer: Any, inputs: Mapping[str, Any] | None, parallel: Mapping[str, Any]) -> None:
    """Raise UsageError where heads or tokens cannot be dealt out evenly.

    Args:
        inputs: one whole call's keyword arguments (meta tensors will do); None where they are not known.
    """
    kind, degree = parallel["kind"], int(parallel["degree"])
    splits = _splits(transformer)
    heads = getattr(transformer.config, "num_attention_heads", None)
    if kind == "ulysses" and heads is not None and heads % degree:
        raise UsageError(
            f"--parallel ulysses deals {heads} attention heads to {degree} ranks, which does not come out even",
            "start another number of processes, or choose --parallel ring",
        )
    for name, dim in splits.items():
        tensor = (inputs or {}).get(name)
        if tensor is not None and tensor.shape[dim] % degree:
            raise UsageError(
                f"--parallel {kind} splits {name} ({tensor.shape[dim]} tokens) over {degree} ranks, which does not come out even",
                "choose another --size, or another number of processes",
            )

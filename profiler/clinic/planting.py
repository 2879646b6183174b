"""Where a fault can be put: into the blocks, between steps, around a call. No torch at import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

InBlock = Callable[[Any, Any], Any]
"""(block, hidden states) -> hidden states."""


def in_blocks(pipe: Any, act: InBlock) -> None:
    """Every double block gives its hidden states to `act` first: one class of block, as a model's own code would be."""
    inner = type(pipe.transformer.transformer_blocks[0])
    # By name, not through the class: dynamo does not look methods up on a class that a closure holds.
    original = inner.forward

    def forward(self: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, act(self, hidden_states), *args, **kwargs)

    faulty = type(inner.__name__, (inner,), {"forward": forward, "__module__": inner.__module__})
    for block in pipe.transformer.transformer_blocks:
        block.__class__ = faulty


def in_steps(pipe: Any, act: Callable[[Any], Any]) -> None:
    """Every step gives its latents to `act` after the transformer, in eager Python, and goes on with what comes back."""
    step = pipe.scheduler.step

    def stepping(noise: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        return step(noise, timestep, act(sample), *args, **kwargs)

    pipe.scheduler.step = stepping


def in_calls(pipe: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Every call of the pipeline is given the keyword arguments that `change` makes of its own."""
    pipe.clinic_call = change

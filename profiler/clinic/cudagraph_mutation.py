"""An input of the compiled transformer is written in place: CUDA graphs are skipped."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register


def plant(pipe: Any) -> None:
    transformer = pipe.transformer
    inner = type(transformer)
    original = inner.forward

    def forward(self: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        hidden_states.mul_(1.0)
        return original(self, hidden_states, *args, **kwargs)

    transformer.__class__ = type(inner.__name__, (inner,), {"forward": forward, "__module__": inner.__module__})


register(
    Fault(
        name="cudagraph-mutation",
        summary="CUDA graphs are skipped: an input is written in place",
        plant=plant,
        file=here(),
        expects=("cudagraph-skip",),
        fix="hidden_states = hidden_states * 1.0: make a new tensor",
        # Small enough that the host sets the pace where CUDA graphs are skipped.
        spec={"compile": "reduce-overhead", "height": 512, "width": 512, "batch": 1},
        needs_cuda=True,
        placed=False,
    ),
)

"""model: one component on the device at a time."""

from typing import Any

from profiler.placement.base import OFFLOADS, Offload, method_of


def _apply(pipe: Any, device: str) -> None:
    method_of(pipe, "enable_model_cpu_offload")(device=device)


_GRAPHS = "CUDA graphs hold the addresses of the weights, and every call brings them to others"

OFFLOADS.add(
    "model",
    Offload(
        name="model",
        summary="one component on the device at a time",
        apply=_apply,
        against_compile={"reduce-overhead": _GRAPHS, "max-autotune": _GRAPHS},
        around="use --compile regional or default",
    ),
)

"""sequential: one submodule's own weights on the device at a time."""

from typing import Any

from profiler.placement.base import OFFLOADS, Offload, method_of


def _apply(pipe: Any, device: str) -> None:
    method_of(pipe, "enable_sequential_cpu_offload")(device=device)


_HOOKS = "a hook before and after every submodule breaks the graph there, so that nothing is left to compile"

OFFLOADS.add(
    "sequential",
    Offload(
        name="sequential",
        summary="one submodule's own weights on the device at a time",
        apply=_apply,
        against_compile=dict.fromkeys(("default", "regional", "reduce-overhead", "max-autotune"), _HOOKS),
        around="use --offload model, or --compile none",
    ),
)

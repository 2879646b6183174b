"""What an offload is, and the registry of offloads. No torch at import."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from profiler.core.errors import Refused, UsageError
from profiler.core.registry import Registry

OFFLOADS: Registry[Offload] = Registry("offload", "profiler.placement")


@dataclass(frozen=True, kw_only=True)
class Offload:
    """A way to keep the weights in the host's memory and bring them to the device when they are needed.

    Attributes:
        apply: (pipeline on the CPU, device) puts the hooks on; None keeps everything on the device.
        against_compile: compile mode -> why it cannot be combined with it; modes not named can.
        around: what to do instead of a refused combination.
    """

    name: str
    summary: str
    apply: Callable[[Any, str], None] | None = None
    against_compile: Mapping[str, str] = field(default_factory=dict)
    around: str = ""

    @property
    def offloads(self) -> bool:
        """Whether weights lie on the CPU between calls."""
        return self.apply is not None


def method_of(pipe: Any, name: str) -> Callable[..., None]:
    """A method of a diffusers pipeline; UsageError where what the user built is none."""
    method = getattr(pipe, name, None)
    if not callable(method):
        raise UsageError(
            f"--offload needs {name}, and a {type(pipe).__name__} has none", "give a diffusers pipeline, or leave --offload out"
        )
    return method  # type: ignore[no-any-return]


def refuse_placement(offload: Offload, device: str, compile_mode: str, *, compiles_vae: bool) -> None:
    """Raise where this machine or this compile mode cannot run with the offload, before anything loads.

    Raises:
        Refused: no accelerator, or the package that diffusers' hooks come from is missing.
        UsageError: the compile mode and the offload contradict each other.
    """
    if not offload.offloads:
        return
    asked = f"--offload {offload.name}"
    if device == "cpu":
        raise Refused(f"{asked} moves weights between the CPU and a GPU, and there is none here", "leave --offload out")
    if importlib.util.find_spec("accelerate") is None:
        raise Refused(f"{asked} needs the package accelerate", "install it: pip install accelerate")
    if compile_mode in offload.against_compile:
        raise UsageError(
            f"{asked} cannot be combined with --compile {compile_mode}: {offload.against_compile[compile_mode]}", offload.around
        )
    if compiles_vae:
        raise UsageError(f"{asked} moves the VAE inside its decode, which --compile-vae compiles", "leave --compile-vae out")

"""What a scheme is, and the registry of schemes. No torch at import: the command line reads this for its choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from profiler.core.errors import Refused
from profiler.core.registry import Registry

SCHEMES: Registry[Scheme] = Registry("scheme", "profiler.schemes")


@dataclass(frozen=True)
class Hardware:
    """Where a run would happen: device type, CUDA compute capability (None on a CPU), and a name for messages."""

    device: str
    capability: tuple[int, int] | None = None
    name: str = ""


@dataclass(frozen=True)
class LinearInfo:
    """One Linear of a component, as the policy sees it.

    `rows` is M of its GEMM (batch x tokens) in one forward, None where it is not known or never called;
    `compiled` says whether it lies inside a compiled region.
    """

    module: str
    in_features: int
    out_features: int
    rows: int | None
    compiled: bool


@dataclass(frozen=True)
class LinearPlan:
    """What becomes of one Linear: the scheme that it gets, or `left`, and why where it is not the one asked for."""

    module: str
    in_features: int
    out_features: int
    rows: int | None
    scheme: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A way to hold and multiply the weights of a pipeline.

    Attributes:
        base_dtype: torch dtype name of everything that is not quantized.
        config: makes the torchao config; its argument is torchao's `set_inductor_config`. None: torchao has none.
        convert: (Linear, `set_inductor_config`) -> None; quantizes one `torch.nn.Linear` in place, where a config alone does
            not. A scheme with neither quantizes nothing.
        missing: what this installation lacks to run it on a CUDA device, or None; asked only there, and may import torch.
        weight_only: the scheme for Linears that this one cannot run; None for weight-only schemes.
        min_rows: the fewest rows (M) that its GEMM takes.
        multiple_of: both dimensions of a weight must be multiples of it.
        min_capability: CUDA compute capability needed; None where any device will do.
        needs_cuda: refused on a CPU.
        accepts: a further test of one Linear; returns the reason against it, or None.
        note: a sentence for `run.json`, where the name promises something else than what is done.
    """

    name: str
    summary: str
    base_dtype: str = "bfloat16"
    config: Callable[[bool], Any] | None = None
    convert: Callable[[Any, bool], None] | None = None
    missing: Callable[[], str | None] = lambda: None
    weight_only: str | None = None
    min_rows: int = 0
    multiple_of: int = 1
    min_capability: tuple[int, int] | None = None
    needs_cuda: bool = False
    accepts: Callable[[LinearInfo], str | None] = lambda _: None
    note: str = ""

    @property
    def dynamic(self) -> bool:
        """Whether activations are quantized too, in every call."""
        return self.weight_only is not None

    @property
    def quantizes(self) -> bool:
        """Whether the scheme changes any weight."""
        return self.config is not None or self.convert is not None

    def obstacle(self, hardware: Hardware) -> str | None:
        """What this hardware lacks for the scheme, or None."""
        if hardware.device == "cpu":
            return "a CUDA device" if self.needs_cuda else None
        if self.min_capability and hardware.capability and hardware.capability < self.min_capability:
            return "CUDA compute capability {}.{} or newer".format(*self.min_capability)
        return None

    def of(self, module: str) -> Scheme | None:
        """The scheme that a module is to get: this one; a plan's by its name, None where that leaves it."""
        return self

    def left_because(self, module: str) -> str:
        """Why a module without a scheme has none."""
        return f"{self.name} leaves {module} as it is"

    def member(self, name: str) -> Scheme:
        """The scheme that a LinearPlan made with this one calls so."""
        return SCHEMES.get(name)


def refuse_hardware(scheme: Scheme, hardware: Hardware) -> None:
    """Raise Refused, naming the capability needed and the schemes that would run here."""
    obstacle = scheme.obstacle(hardware)
    if obstacle is None:
        return
    runnable = [each.name for each in SCHEMES.values() if each.obstacle(hardware) is None]
    raise Refused(
        f"scheme {scheme.name} needs {obstacle}; this machine has {hardware.name or hardware.device}",
        f"schemes that run here: {', '.join(runnable)}",
    )


def refuse_installation(scheme: Scheme, hardware: Hardware) -> None:
    """Raise Refused where the device could run the scheme, and what is installed beside it cannot."""
    why = scheme.missing() if hardware.device == "cuda" else None
    if why:
        raise Refused(f"scheme {scheme.name} cannot run here: {why}", "install what is missing, or choose another --scheme")

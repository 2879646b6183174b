"""Combinations of options that cannot work, whatever the machine."""

from __future__ import annotations

import math

from profiler.core.errors import UsageError
from profiler.core.spec import DEVICES, INDUCTOR_DEFAULTS, PHASES, QUANTIZE_ON, TUNED, RunSpec


def refuse_combination(spec: RunSpec, *, quantizes: bool) -> None:
    """Raise UsageError, with the reason, for a spec that contradicts itself.

    Args:
        quantizes: whether the spec's scheme quantizes anything.
    """
    refuse_values(spec)
    compiles = spec.compile != "none"
    asked = {
        "--quantize-vae": spec.quantize_vae,
        "--quantize-text-encoder": spec.quantize_text_encoder,
        "--quantize-on": spec.quantize_on != "device",
    }
    for option, given in asked.items():
        if given and not quantizes:
            raise UsageError(f"{option} was asked, and scheme {spec.scheme} quantizes nothing", "choose a quantizing --scheme")
    if spec.tuned not in TUNED and spec.scheme != "int8dq":
        raise UsageError(f"--tuned {spec.tuned} was asked, and only scheme int8dq has kernels to tune", "choose --scheme int8dq")
    if spec.compile_vae and not compiles:
        raise UsageError("--compile-vae was asked with --compile none", "choose a --compile mode, for example default")
    if spec.parallel is not None:
        _refuse_parallel(spec)
    if spec.inductor_defaults == "torchao" and not (compiles and quantizes):
        raise UsageError(
            "--inductor-defaults torchao changes only compiled runs of quantizing schemes",
            "leave it out, or choose a --scheme and a --compile mode",
        )


def _refuse_parallel(spec: RunSpec) -> None:
    asked = f"--parallel {(spec.parallel or {}).get('kind')}"
    if spec.offload != "none":
        raise UsageError(f"{asked} cannot be combined with --offload {spec.offload}: its hooks and the ranks' would nest")
    if spec.compile in ("reduce-overhead", "max-autotune"):
        raise UsageError(
            f"{asked} cannot be combined with --compile {spec.compile}: collectives inside CUDA graphs are not supported",
            "choose --compile regional or default",
        )


def refuse_values(spec: RunSpec) -> None:
    """Raise UsageError for an option that is wrong by itself, whatever the others are."""
    for option, value, least in (
        ("--batch", spec.batch, 1),
        ("--steps", spec.steps, 1),
        ("--trace-steps", spec.trace_steps, 1),
        ("--frames", spec.frames, 1),
        ("--size", spec.height, 1),
        ("--size", spec.width, 1),
        ("--warmup", spec.warmup, 0),
        ("--repeats", spec.repeats, 0),
    ):
        if value is not None and value < least:
            raise UsageError(f"{option} is {value}, and must be at least {least}")
    unknown = [] if spec.phases == "all" else [each for each in spec.phases.split(",") if each not in PHASES]
    if unknown:
        raise UsageError(f"--phases {spec.phases} names no phase {unknown[0]!r}", f"choose from: {', '.join(PHASES)}, or all")
    if not -(1 << 63) <= spec.seed < 1 << 63:
        raise UsageError(f"--seed {spec.seed} is no 64-bit number")
    if spec.guidance is not None and not math.isfinite(spec.guidance):
        raise UsageError(f"--guidance {spec.guidance} is no number", "give a scale, for example 3.5")
    for option, choice, choices in (
        ("--quantize-on", spec.quantize_on, QUANTIZE_ON),
        ("--inductor-defaults", spec.inductor_defaults, INDUCTOR_DEFAULTS),
        ("--device", spec.device, DEVICES),
    ):
        if choice not in choices:
            raise UsageError(f"{option} {choice} is not known", f"choose from: {', '.join(choices)}")

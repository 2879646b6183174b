"""One planning: what there is to choose from, measured; the choice is made elsewhere, from this alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from profiler.core.errors import Refused, UsageError
from profiler.core.spec import RunSpec
from profiler.plan.gains import measure_gains
from profiler.plan.layers import Layers, find_layers, kind_of
from profiler.plan.measure import Bench, Case
from profiler.recording.device import find_hardware
from profiler.recording.environment import describe_environment
from profiler.recording.runner import quiet_libraries
from profiler.recording.tuned import tuned_entries
from profiler.schemes.base import SCHEMES, Hardware, LinearPlan, Scheme, refuse_hardware, refuse_installation
from profiler.schemes.plan import config_json
from profiler.schemes.policy import LEFT
from profiler.tune.progress import Progress

_BASE_DTYPE = "bfloat16"
# The compile mode that is measured where none was asked for: regional on a GPU, none on a CPU.
_AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to plan for.

    Attributes:
        schemes: their names; empty for all that run on the device.
        hardware: the device to plan for, where it is not this machine's: nothing is measured then.
    """

    spec: RunSpec
    schemes: list[str]
    hardware: Hardware | None = None


def gather(request: Request) -> dict[str, Any]:
    """Everything that a choice needs, JSON-ready: layers, what each may get, costs, gains, torchao's configs.

    Raises:
        UsageError, Refused: a scheme, a model or a device that cannot be planned for.
    """
    quiet_libraries()
    hardware = request.hardware or find_hardware(request.spec.device)
    spec = request.spec
    if spec.compile == _AUTO:
        spec = replace(spec, compile="regional" if hardware.device == "cuda" else "none")
    schemes = _schemes(request.schemes, hardware, here=request.hardware is None)
    layers = find_layers(spec, schemes)
    found = _described(layers, hardware, schemes)
    if request.hardware is None:
        found |= _measured(layers, hardware)
        found["environment"] = {
            key: value for key, value in describe_environment(hardware).items() if key in ("gpu", "cpu", "versions")
        }
    return found


def _schemes(names: list[str], hardware: Hardware, *, here: bool) -> list[Scheme]:
    """Those that were asked for, or all that the device runs: of another base dtype than bf16, none."""
    if not names:
        fitting = [each for each in SCHEMES.values() if each.base_dtype == _BASE_DTYPE and each.obstacle(hardware) is None]
        return [each for each in fitting if not here or hardware.device == "cpu" or each.missing() is None]
    found = [SCHEMES.get(each) for each in names]
    for each in found:
        refuse_hardware(each, hardware)
        if each.base_dtype != _BASE_DTYPE:
            raise UsageError(
                f"a plan keeps what it leaves in bf16, and scheme {each.name} is of {each.base_dtype}", "leave it out"
            )
        if here:
            refuse_installation(each, hardware)
    return found


def _described(layers: Layers, hardware: Hardware, schemes: list[Scheme]) -> dict[str, Any]:
    used = {choice for outcome in layers.outcomes.values() for choice in outcome}
    rows = [
        {
            "module": each.module,
            "kind": kind_of(each.module),
            "rows": each.rows,
            "in_features": each.in_features,
            "out_features": each.out_features,
            "compiled": each.compiled,
            "calls": layers.calls.get(each.module, 0),
            "choices": layers.choices(index),
        }
        for index, each in enumerate(layers.linears)
    ]
    return {
        "model": layers.spec.model,
        "spec": layers.spec.to_dict(),
        "device": asdict(hardware),
        "base_dtype": _BASE_DTYPE,
        "schemes": [each.name for each in schemes],
        "layers": rows,
        "outcomes": layers.outcomes,
        "other_bytes": layers.other_bytes,
        "known_inputs": layers.known_inputs,
        "configs": {name: config_json(SCHEMES.get(name)) for name in sorted(used - {LEFT}) if _by_config(name)},
        "costs": [],
        "failed": [],
        "gains": None,
    }


def _by_config(name: str) -> bool:
    """Whether torchao's config alone makes the scheme, so that torchao can apply the plan without us."""
    return SCHEMES.get(name).config is not None and SCHEMES.get(name).convert is None


def _cases(layers: Layers) -> list[Case]:
    """Each distinct Linear under each scheme that it may get, once; the largest first."""
    cases = {
        Case(each.rows, each.in_features, each.out_features, choice, each.compiled)
        for index, each in enumerate(layers.linears)
        if each.rows is not None
        for choice in layers.choices(index)
    }
    return sorted(cases, key=lambda each: (-each.rows * each.in_features * each.out_features, each))


def _measured(layers: Layers, hardware: Hardware) -> dict[str, Any]:
    cases, costs, failed = _cases(layers), [], []
    kinds = {kind_of(each.module) for each in layers.linears}
    progress = Progress(len(cases) + len(kinds))
    plans = [LinearPlan("0", each.in_features, each.out_features, each.rows, each.scheme) for each in cases]
    bench = Bench(hardware.device, tuned_entries(layers.spec, hardware, plans), layers.spec.seed)
    for case in cases:
        progress.label(f"{case.rows}x{case.in_features}x{case.out_features} {case.scheme}")
        try:
            cost = bench.measure(case)
        except (RuntimeError, ValueError, AssertionError, NotImplementedError, TypeError) as error:
            why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            failed.append(case._asdict() | {"why": why[:300]})
        else:
            costs.append(case._asdict() | cost._asdict())
        progress.advance()
    if not any(each["scheme"] == LEFT for each in costs):
        raise Refused("no Linear of the model could be measured", failed[0]["why"] if failed else "it has none that is called")
    progress.tell(f"{len(costs)} single Linears measured")
    progress.label("noise")
    return {"costs": costs, "failed": failed} | _gains(layers, hardware, progress.advance)


def _gains(layers: Layers, hardware: Hardware, told: Callable[[], None]) -> dict[str, Any]:
    import torch

    try:
        return {"gains": measure_gains(layers.spec, hardware.device, told)}
    except torch.OutOfMemoryError:
        # A plan for a small GPU is what the model in bf16 has no room on.
        why = "the transformer in bf16 does not fit on this device: gains of noise are not measured, but one for all"
        return {"gains": None, "notes": [why]}

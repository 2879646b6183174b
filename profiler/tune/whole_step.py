"""One step of a whole transformer, tuned against untuned: are the int8 products the same, and is the output?

Every Linear is compared on the very input that it gets: its kernel's output against what torchao's int32 sums come to, bit
for bit, and against torchao's own output, which is rounded more often. The outputs of the whole step differ by those roundings
too, carried through all blocks, and are therefore held against the error of int8 itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.kernels.candidate import Shape
from profiler.models.base import Model, find_model
from profiler.models.random_weights import empty_weights, fill
from profiler.recording.tuned import apply_tuned
from profiler.schemes.apply import list_linears, quantize
from profiler.schemes.base import SCHEMES, Hardware, LinearPlan
from profiler.schemes.policy import plan_linears
from profiler.schemes.tuned import SCHEME

_PART = "transformer"
# Two roundings to bf16 (8 bits) more than the tuned kernel's one.
_TOLERANCE = 2.0**-7
# Another rounding in an early block makes other int8 values in all later ones: at worst the two steps' quantization noises are
# unrelated, and differ by the square root of 2 times their size.
_AS_NEAR, _UNRELATED = 1.1, 2.0**0.5 * 1.1


@dataclass(frozen=True)
class Layer:
    """One tuned Linear on the input that it got.

    Attributes:
        unequal: outputs that are not what torchao's int32 sums come to, rounded once.
        far: outputs further from torchao's own than its roundings explain.
    """

    module: str
    shape: Shape
    kernel: str
    outputs: int
    unequal: int
    far: int


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What was compared.

    Attributes:
        quantization_error: RMS difference of the untuned int8dq step from the bf16 one, relative to the latter's RMS.
        tuned_error: the same of the tuned step.
        difference: of the tuned step from the untuned one, likewise.
    """

    layers: list[Layer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    quantization_error: float
    tuned_error: float
    difference: float

    @property
    def right(self) -> bool:
        """No Linear is wrong; the step is as near to bf16 as the untuned one, and both differ as two noises of that size may."""
        right = bool(self.layers) and not any(each.unequal or each.far for each in self.layers)
        near = self.tuned_error <= _AS_NEAR * self.quantization_error
        return right and near and self.difference <= _UNRELATED * self.quantization_error


def compare_step(spec: RunSpec, hardware: Hardware, blocks: int | None = None) -> StepResult:
    """Run one step in bf16, untuned and tuned, with random weights.

    Args:
        spec: model, size, batch, seed, and `tuned`: which tables.
        blocks: of each kind, so many only; None for all.

    Raises:
        UsageError: the model is none of those registered, or no Linear of it has a tuned kernel here.
        Refused, UnreadableInput: as `apply_tuned`.
    """
    import torch

    model = find_model(spec.model)
    spec = model.resolve(spec)
    part = build_transformer(model, hardware.device, spec.seed, blocks)
    with torch.no_grad():
        call, rows = _call(model, spec, part, hardware.device), {}
        with _watched(part, lambda name, given, _out: rows.update({name: given.numel() // given.shape[-1]})):
            plain = call()
        plans = plan_linears(SCHEMES.get(SCHEME), list_linears(part, rows, (), f"{_PART}."), compiling=False)
        quantize(part, plans, prefix=f"{_PART}.", torchao_defaults=False)
        untuned = call()
        applied = apply_tuned(spec, hardware, _Pipe(part), plans)
        if not applied.kernels:
            raise UsageError(f"no Linear of {spec.model} has a tuned kernel here: {'; '.join(applied.notes)}", "tune it first")
        layers: list[Layer] = []
        by_name = {each.module.removeprefix(f"{_PART}."): each for each in plans}
        with _watched(part, lambda name, given, out: layers.extend(_compare(part, by_name[name], applied.kernels, given, out))):
            tuned = call()
    errors = {"quantization_error": _error(untuned, plain), "tuned_error": _error(tuned, plain)}
    return StepResult(layers=layers, notes=applied.notes, difference=_error(tuned, untuned), **errors)


class _Pipe:
    """As much of a pipeline as is tuned."""

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer


def build_transformer(model: Model, device: str, seed: int, blocks: int | None = None) -> Any:
    """The transformer of a registered model alone, with the random weights that a recorded pipeline's has, in bf16.

    Args:
        blocks: of each kind, so many only; None for all.

    Raises:
        UsageError: the model is none of those registered.
    """
    import torch

    if model.components is None:
        raise UsageError(f"{model.name} is no registered model", "name one of them, for example flux-dev")
    with empty_weights("meta", torch.bfloat16):
        twin = model.components()[_PART]
    # On the device from the start: tables of positions are buffers, which the meta device would leave empty. And once more from
    # what it was made of: beside the transformer there is no room for a text encoder on every device.
    with empty_weights(device, torch.bfloat16):
        part = type(twin).from_config(twin.config).eval()
    for each in part.children():
        if isinstance(each, torch.nn.ModuleList) and blocks:
            del each[blocks:]
    fill(part, seed, _PART)
    return part


def _call(model: Model, spec: RunSpec, part: Any, device: str) -> Callable[[], Any]:
    import torch

    with empty_weights(device, torch.bfloat16):
        torch.manual_seed(spec.seed)
        inputs = model.inputs(spec, _PART, part, None) or {}

    def call() -> Any:
        return part(**inputs)[0].float()

    return call


@contextmanager
def _watched(part: Any, note: Callable[[str, Any, Any], None]) -> Iterator[None]:
    """Call `note(name, input, output)` for every Linear that runs in here."""
    import torch

    def hook(name: str) -> Callable[..., None]:
        return lambda _module, given, out: note(name, given[0], out)

    found = [(name, each) for name, each in part.named_modules() if isinstance(each, torch.nn.Linear)]
    hooks = [module.register_forward_hook(hook(name)) for name, module in found]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


def _compare(part: Any, plan: LinearPlan, kernels: dict[str, str], given: Any, out: Any) -> Iterator[Layer]:
    """The layer, if it is a tuned one."""
    import torch
    from torchao.quantization.quantize_.common import _choose_quant_func_and_quantize_tensor as quantize_activations

    if plan.module not in kernels:
        return
    linear = part.get_submodule(plan.module.removeprefix(f"{_PART}."))
    weight, quantized = linear.weight, quantize_activations(given, linear.weight.act_quant_kwargs)
    rows = quantized.qdata.reshape(-1, plan.in_features)
    scaled = torch._int_mm(rows, weight.qdata.t()).float() * quantized.scale.reshape(-1, 1).float()
    scaled *= weight.scale.reshape(1, -1).float()
    expected = scaled if linear.bias is None else scaled + linear.bias.float()
    flat, untuned = out.reshape(expected.shape), torch.nn.functional.linear(given, weight, linear.bias).reshape(expected.shape)
    bound = _TOLERANCE * (scaled.abs() + (0.0 if linear.bias is None else linear.bias.float().abs()))
    far = ~((flat.float() - untuned.float()).abs() <= bound)  # so that NaN is far
    unequal = flat != expected.to(torch.bfloat16)
    shape = Shape(rows.shape[0], plan.in_features, plan.out_features)
    yield Layer(plan.module, shape, kernels[plan.module], out.numel(), int(unequal.sum()), int(far.sum()))


def _error(found: Any, base: Any) -> float:
    return float((found - base).square().mean().sqrt() / base.square().mean().sqrt())

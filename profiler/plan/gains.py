"""How much of a layer's noise reaches the transformer's output: noise is added to the outputs of one kind after another.

Noise powers are taken to add up: what a plan loses is the sum over its layers of (noise power of the layer's output, relative to
its signal) times (the gain of its kind). Cross terms and what is not linear are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from profiler.core.spec import RunSpec
from profiler.models.base import Model, find_model
from profiler.plan.layers import PART, kind_of
from profiler.tune.whole_step import build_transformer

# 20 dB below the signal: far above the rounding of bf16, and still small.
_ADDED = 1e-2


def measure_gains(spec: RunSpec, device: str, told: Callable[[], None]) -> dict[str, float] | None:
    """The gain of one layer of each kind: relative noise power at the output for each unit of it at the layer's own output.

    None for a model whose inputs are not known. Needs room for the transformer in bf16.

    Args:
        told: called once for each kind.
    """
    import torch

    made = transformer_call(spec, device)
    if made is None:
        return None
    module, call = made
    linears = [(f"{PART}.{name}", each) for name, each in module.named_modules() if isinstance(each, torch.nn.Linear)]
    kinds = Counter(kind_of(name) for name, _ in linears)
    with torch.no_grad():
        base = call().float()
        gains = {}
        for kind, count in kinds.items():
            generator = torch.Generator(device).manual_seed(spec.seed)
            hooks = [each.register_forward_hook(_adding(generator)) for name, each in linears if kind_of(name) == kind]
            try:
                noisy = call().float()
            finally:
                for each in hooks:
                    each.remove()
            gains[kind] = float((noisy - base).square().sum() / base.square().sum()) / _ADDED / count
            told()
    return gains


def transformer_call(spec: RunSpec, device: str) -> tuple[Any, Callable[[], Any]] | None:
    """The transformer with its weights, and a call of it on the same random inputs each time; None where these are not known."""
    import torch

    model = find_model(spec.model)
    spec = model.resolve(spec)
    module = _transformer(model, spec, device)
    if spec.fuse_qkv:
        module.fuse_qkv_projections()
    # Weights may be moved to the device above: what is random here is drawn there as well.
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        torch.manual_seed(spec.seed)
        with torch.device(device):
            kwargs = model.inputs(spec, PART, module, None)
    finally:
        torch.set_default_dtype(before)
    if kwargs is None:
        return None

    def call() -> Any:
        out = module(**kwargs)
        return out[0] if isinstance(out, tuple) else out.sample

    return module, call


def _transformer(model: Model, spec: RunSpec, device: str) -> Any:
    """With the weights that a recording would have; what else is in its pipeline takes no room on the device if it need not."""
    import torch

    if spec.weights is not None and model.load is not None:
        return model.load(spec.weights, torch.bfloat16).transformer.to(device).eval()
    if model.components is not None:
        return build_transformer(model, device, spec.seed)
    return model.build(device, torch.bfloat16, spec.seed).transformer.to(device).eval()


def _adding(generator: Any) -> Callable[[Any, Any, Any], Any]:
    def hook(_module: Any, _inputs: Any, out: Any) -> Any:
        import torch

        noise = torch.randn(out.shape, device=out.device, dtype=torch.float32, generator=generator)
        return (out.float() + noise * out.float().square().mean().sqrt() * _ADDED**0.5).to(out.dtype)

    return hook

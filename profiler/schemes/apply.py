"""Carrying a layer policy out with torchao."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from profiler.core.errors import UsageError
from profiler.schemes.base import SCHEMES, LinearInfo, LinearPlan, Scheme
from profiler.schemes.policy import LEFT
from profiler.schemes.weight_only import use_sane_forward


def list_linears(component: Any, rows: dict[str, int], compiled: Iterable[str], prefix: str = "") -> list[LinearInfo]:
    """Every `torch.nn.Linear` of a component.

    Args:
        component: a torch module.
        rows: M of each Linear by its name, where known.
        compiled: names of the compiled submodules; "" stands for the whole component.
        prefix: put before the names in the result, for example "transformer.".
    """
    import torch

    regions = tuple(compiled)
    found = [(name, module) for name, module in component.named_modules() if isinstance(module, torch.nn.Linear)]
    return [
        LinearInfo(prefix + name, module.in_features, module.out_features, rows.get(name), _inside(name, regions))
        for name, module in found
    ]


def _inside(name: str, regions: tuple[str, ...]) -> bool:
    return any(region in ("", name) or name.startswith(region + ".") for region in regions)


def quantize(
    component: Any,
    plans: list[LinearPlan],
    *,
    prefix: str,
    torchao_defaults: bool,
    device: str | None = None,
    find: Callable[[str], Scheme] = SCHEMES.get,
) -> None:
    """Quantize a component in place as planned.

    Args:
        find: the scheme of a name in the plans.
        torchao_defaults: let torchao set Inductor switches for the whole process.
        device: move each parameter there just before it is quantized (None: quantize where it is).

    Raises:
        UsageError: the component was quantized before.
    """
    from torchao.quantization import quantize_

    _refuse_twice(component)
    groups: dict[str, set[str]] = defaultdict(set)
    for plan in plans:
        if plan.scheme != LEFT:
            groups[plan.scheme].add(plan.module.removeprefix(prefix))
    for name, modules in groups.items():
        scheme = find(name)
        if scheme.convert is not None:
            _convert(component, scheme.convert, modules, torchao_defaults, device)
            continue
        assert scheme.config is not None  # a plan names only schemes that quantize
        quantize_(component, scheme.config(torchao_defaults), filter_fn=_named(modules), device=device)
    for plan in plans:
        # What a torchao config of the user's own made of a weight is multiplied as torchao does it.
        if plan.scheme in SCHEMES and not SCHEMES.get(plan.scheme).dynamic:
            use_sane_forward(component.get_submodule(plan.module.removeprefix(prefix)))


def _convert(
    component: Any, convert: Callable[[Any, bool], None], modules: set[str], torchao_defaults: bool, device: str | None
) -> None:
    for name, module in component.named_modules():
        if name in modules:
            convert(module if device is None else module.to(device), torchao_defaults)


def _named(names: set[str]) -> Any:
    return lambda _module, fqn: fqn in names


def _refuse_twice(component: Any) -> None:
    from torchao.utils import TorchAOBaseTensor

    if any(isinstance(each, TorchAOBaseTensor) for each in component.parameters()):
        raise UsageError("the pipeline's weights are quantized already", "record it with --scheme bf16 to leave them as they are")

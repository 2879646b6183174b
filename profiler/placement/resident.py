"""Where weights really lie under an offload, and what hooks hold them: read off the modules."""

from __future__ import annotations

from collections import Counter
from typing import Any


def resident(component: Any, name: str, tensor: Any) -> Any:
    """The tensor that holds a parameter's or buffer's bytes: of an offloaded one the copy on the CPU.

    Sequential offload leaves empty tensors (device "meta") in the modules and keeps the weights in its hooks' maps.

    Args:
        component: the module that `name` is looked up in.
        tensor: what the module itself holds under `name`.
    """
    if tensor.device.type != "meta":
        return tensor
    owner, _, own = name.rpartition(".")
    for hook in _accelerate_hooks(component.get_submodule(owner)):
        kept = getattr(hook, "weights_map", None)
        if kept is not None and own in kept:
            return kept[own]
    return tensor


def count_hooks(component: Any) -> dict[str, int]:
    """Number of offload hooks on a module and all below it, by the class of the hook."""
    counts: Counter[str] = Counter()
    for module in component.modules():
        counts.update(type(each).__name__ for each in _accelerate_hooks(module))
        group = getattr(module, "_diffusers_hook", None)
        counts.update(type(each).__name__ for each in (group.hooks.values() if group is not None else ()))
    return dict(sorted(counts.items()))


def _accelerate_hooks(module: Any) -> list[Any]:
    hook = getattr(module, "_hf_hook", None)
    return [] if hook is None else list(getattr(hook, "hooks", [hook]))

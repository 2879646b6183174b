"""M of every Linear, found by a forward on the meta device: no weights, no memory, exact for the asked sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def rows_on_meta(component: Any, call: Callable[[Any], Any]) -> dict[str, int]:
    """Rows (product of all dimensions but the last) of each Linear's input in one forward.

    Args:
        component: a diffusers model; a twin of it is made on the meta device from its config.
        call: runs the twin once on meta tensors.
    """
    import torch

    with torch.device("meta"):
        twin = type(component).from_config(component.config).eval()
        if any(getattr(each, "fused_projections", False) for each in component.modules()):
            twin.fuse_qkv_projections()
    rows: dict[str, int] = {}

    def note(name: str) -> Callable[[Any, Any], None]:
        def hook(_module: Any, inputs: Any) -> None:
            rows[name] = inputs[0].numel() // inputs[0].shape[-1]

        return hook

    for name, module in twin.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(note(name))
    with torch.no_grad(), torch.device("meta"):
        call(twin)
    return rows

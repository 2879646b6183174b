"""Where every weight lies: address, bytes, dtype, role and module of each parameter and buffer storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from profiler.placement.resident import resident

# What the inner tensors of a quantized weight are for, by the names that torchao gives them.
_ROLES = {"qdata": "quantized data", "scale": "scale", "zero_point": "zero point", "act_quant_scale": "scale"}


def describe_weights(pipe: Any) -> list[dict[str, Any]]:
    """One row a storage-backed tensor of every component of a pipeline.

    A quantized weight is taken apart: `numel * element_size` of the whole would report its bf16 size. Tensors that
    share a storage are listed once each; `address` and `storage_bytes` say so.
    """
    return [row for name, component in components(pipe).items() for row in _rows(name, component)]


def components(pipe: Any) -> dict[str, Any]:
    """The torch modules of a pipeline by name."""
    import torch

    parts = getattr(pipe, "components", None)
    if not isinstance(parts, dict):
        parts = {name: getattr(pipe, name, None) for name in ("transformer", "unet", "vae", "text_encoder", "text_encoder_2")}
    return {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}


def save_weights(pipe: Any, path: Path) -> None:
    """Write `weights.json`."""
    path.write_text(json.dumps(describe_weights(pipe)))


def _rows(component: str, module: Any) -> Iterator[dict[str, Any]]:
    for kind, tensors in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        for name, tensor in tensors:
            for role, inner in flatten(resident(module, name, tensor)):
                yield _row(component, name, kind, role, inner)


def _row(component: str, name: str, kind: str, role: str, tensor: Any) -> dict[str, Any]:
    storage = tensor.untyped_storage()
    return {
        "component": component,
        "name": name,
        "kind": kind,
        "role": role or ("buffer" if kind == "buffer" else "weight"),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "bytes": tensor.numel() * tensor.element_size(),
        "device": str(tensor.device),
        "address": storage.data_ptr(),
        "storage_bytes": storage.nbytes(),
    }


def flatten(tensor: Any, role: str = "") -> Iterator[tuple[str, Any]]:
    """The plain tensors inside a tensor subclass, each with its role; a plain tensor yields itself."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield role, tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        inner = getattr(tensor, name)
        if inner is not None:
            yield from flatten(inner, _ROLES.get(name, name))

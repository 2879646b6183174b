"""Where every weight lies: address, bytes, dtype, role and module of each parameter and buffer storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from profiler.placement.resident import resident

# What the inner tensors of a quantized weight are for, by the names that torchao gives them.
_ROLES = {"qdata": "quantized data", "scale": "scale", "zero_point": "zero point"}
_ROLES |= {"sparse_metadata": "sparsity metadata"}
_ROLES |= {"act_quant_scale": "scale", "act_quant_zero_point": "zero point", "act_pre_scale": "scale"}


def describe_weights(pipe: Any) -> list[dict[str, Any]]:
    """One row a storage-backed tensor of every component of a pipeline.

    A quantized weight is taken apart: `numel * element_size` of the whole would report its bf16 size. A tensor that several
    modules hold (tied weights) is one row, under its first name. Different views of one storage are rows of their own;
    `address` and `storage_bytes` are the storage's and say so. A tensor on the meta device (an offloaded weight) has
    address 0 and the bytes that it would take, unless its offload's hooks keep it on the CPU: then that copy is described.
    `kind` is "parameter", "buffer", or "attribute": a tensor that a module holds as neither.
    """
    rows, seen = [], set()
    for component, module in components(pipe).items():
        for kind, name, whole in _tensors(module):
            for role, tensor in flatten(whole):
                key = _identity(tensor)
                if key not in seen:
                    seen.add(key)
                    rows.append(_row(component, name, kind, role, tensor))
    return rows


def components(pipe: Any) -> dict[str, Any]:
    """The torch modules of a pipeline by name."""
    import torch

    parts = getattr(pipe, "components", None)
    if not isinstance(parts, dict):
        parts = {name: getattr(pipe, name, None) for name in ("transformer", "unet", "vae", "text_encoder", "text_encoder_2")}
    return {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}


def without_wrappers(name: str) -> str:
    """A module's or tensor's name as it is in the model: what `torch.compile(module)` returns adds a level."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def save_weights(pipe: Any, path: Path) -> None:
    """Write `weights.json`."""
    path.write_text(json.dumps(describe_weights(pipe)))


def _tensors(module: Any) -> Iterator[tuple[str, str, Any]]:
    """(kind, name, tensor) of what a component's modules hold; a lazy parameter that never got a shape holds nothing."""
    import torch

    held = [("parameter", module.named_parameters()), ("buffer", module.named_buffers()), ("attribute", _attributes(module))]
    for kind, tensors in held:
        for name, tensor in tensors:
            if not torch.nn.parameter.is_lazy(tensor):
                yield kind, without_wrappers(name), resident(module, name, tensor)


def _attributes(module: Any) -> Iterator[tuple[str, Any]]:
    """Tensors that are plain attributes of a module. Lists of tensors stay out: one that grows from call to call is a leak."""
    import torch

    for name, each in module.named_modules():
        for attribute, value in vars(each).items():
            if isinstance(value, torch.Tensor) and value.layout == torch.strided:
                yield f"{name}.{attribute}" if name else attribute, value


def _identity(tensor: Any) -> tuple[Any, ...]:
    """The memory that a tensor stands for; one without an address is itself."""
    address = tensor.data_ptr()
    return (str(tensor.device), address, _size(tensor)) if address else (id(tensor),)


def _size(tensor: Any) -> int:
    """Bytes of memory behind a tensor: one that was expanded has more elements than memory."""
    return int(min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()))


def _row(component: str, name: str, kind: str, role: str, tensor: Any) -> dict[str, Any]:
    storage = tensor.untyped_storage()
    return {
        "component": component,
        "name": name,
        "kind": kind,
        "role": role or ("weight" if kind == "parameter" else "buffer"),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "bytes": _size(tensor),
        "device": str(tensor.device),
        "address": storage.data_ptr(),
        "storage_bytes": storage.nbytes(),
    }


def flatten(tensor: Any, role: str = "") -> Iterator[tuple[str, Any]]:
    """The plain tensors inside a tensor subclass, each with its role; a plain tensor yields itself."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield role, tensor
        return
    if hasattr(tensor, "described"):
        yield from tensor.described()
        return
    for name in tensor.__tensor_flatten__()[0]:
        inner = getattr(tensor, name)
        if inner is not None and name == "scale_and_zero":
            # Of tile-packed int4: the two lie side by side.
            yield from zip(("scale", "zero point"), inner.unbind(-1), strict=True)
        elif inner is not None:
            yield from flatten(inner, _ROLES.get(name, name))

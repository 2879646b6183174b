"""One transformer over several ranks: diffusers' context parallelism, each rank with a part of the tokens and all weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Ring attention joins the parts by their log-sum-exp, which diffusers' default backend does not give.
RING_BACKEND = {"cuda": "_native_cudnn", "cpu": "_native_flash"}


def apply_parallel(transformer: Any, parallel: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Split the transformer's tokens over all ranks of the process group, in place.

    Returns: what was done, for `run.json`.
    """
    from diffusers import ContextParallelConfig

    kind, degree = parallel["kind"], int(parallel["degree"])
    backend = "native"
    if kind == "ring":
        backend = RING_BACKEND[device]
        transformer.set_attention_backend(backend)
    if device == "cpu":
        _resolve_on_cpu(transformer)
    transformer.enable_parallelism(config=ContextParallelConfig(**{f"{kind}_degree": degree}))
    return {"kind": kind, "degree": degree, "attention_backend": backend}


def _resolve_on_cpu(transformer: Any) -> None:
    """Two things that diffusers expects of an accelerator: a device to count, and a flash attention of its name."""
    import torch
    from diffusers.models import attention_dispatch
    from diffusers.models._modeling_parallel import ParallelConfig

    def resolve(config: Any) -> Any:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", config.mesh_shape, mesh_dim_names=config.mesh_dim_names)
        whole = ParallelConfig(context_parallel_config=config)
        whole.setup(torch.distributed.get_rank(), torch.distributed.get_world_size(), torch.device("cpu"), mesh=mesh)
        transformer._parallel_config = whole
        return whole

    transformer._resolve_parallel_config = resolve
    attention_dispatch._native_flash_attention_forward_op = _flash_on_cpu


def _flash_on_cpu(_ctx: Any, query: Any, key: Any, value: Any, *arguments: Any, **_more: Any) -> Any:
    """Attention and its log-sum-exp on a CPU, with the arguments of diffusers' op for CUDA; (B, S, H, D) in and out."""
    import torch

    _mask, dropout, causal, scale, _gqa, return_lse = arguments
    heads_first = [each.transpose(1, 2).contiguous() for each in (query, key, value)]
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*heads_first, dropout, causal, scale=scale)
    out, lse = out.transpose(1, 2).contiguous(), lse.transpose(1, 2).contiguous()
    return (out, lse) if return_lse else out

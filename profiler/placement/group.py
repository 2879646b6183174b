"""group: the transformer block by block, the rest layer by layer, the next one copied while one computes."""

from typing import Any

from profiler.placement.base import OFFLOADS, Offload, method_of

_PREFETCH_HOOK, _TRACKER_HOOK = "lazy_prefetch_group_offloading", "layer_execution_tracker"


def _apply(pipe: Any, device: str) -> None:
    import torch

    method_of(pipe, "enable_group_offload")
    for name, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            offload_component(component, device, level="block_level" if name in ("transformer", "unet") else "leaf_level")
    _forget_order(pipe)


def offload_component(component: Any, device: str, *, level: str) -> None:
    """Put diffusers' group hooks on one component, with a copy stream where the device has streams.

    Only what lies in lists directly below a component counts as a block: text encoders and VAEs have theirs deeper,
    so block by block they would come to the device whole.
    """
    import torch
    from diffusers.hooks import apply_group_offloading

    blocks = 1 if level == "block_level" else None
    apply_group_offloading(
        component, onload_device=torch.device(device), offload_type=level, num_blocks_per_group=blocks, use_stream=device != "cpu"
    )


def _forget_order(pipe: Any) -> None:
    """Keep the VAE from noting its layers' order for ever: the note ends with its forward, and pipelines call `decode`."""
    vae = getattr(pipe, "vae", None)
    hooks = getattr(vae, "_diffusers_hook", None)
    if vae is None or hooks is None or hooks.get_hook(_PREFETCH_HOOK) is None:
        return
    hooks.remove_hook(_PREFETCH_HOOK, recurse=False)
    for module in vae.modules():
        if hasattr(module, "_diffusers_hook"):
            module._diffusers_hook.remove_hook(_TRACKER_HOOK, recurse=False)


_HOOKS = "its hooks around every block break the graph of the whole transformer there"
_GRAPHS = "CUDA graphs hold the addresses of the weights, and every block brings its own to others"

OFFLOADS.add(
    "group",
    Offload(
        name="group",
        summary="the transformer block by block, the rest layer by layer, copies beside the computation",
        apply=_apply,
        against_compile={"default": _HOOKS, "max-autotune": _GRAPHS, "reduce-overhead": _GRAPHS},
        around="use --compile regional",
    ),
)

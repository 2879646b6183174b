"""Flux.1: dev, schnell, and a tiny one of the same structure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from profiler.core.spec import RunSpec
from profiler.models import text
from profiler.models.base import MODELS, Model
from profiler.models.random_weights import with_random_weights
from profiler.models.rows import rows_on_meta

_VAE = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2}
_VAE |= {
    "latent_channels": 16,
    # The size of a tile, where decoding is tiled; diffusers' own default would make tiles of 4 latent pixels.
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def _transformer(**config: Any) -> Any:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(in_channels=64, **config).eval()


def _vae(channels: tuple[int, ...], **config: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(block_out_channels=channels, **_VAE, **config).eval()


def _full(guidance_embeds: bool) -> dict[str, Any]:
    return {
        "transformer": _transformer(guidance_embeds=guidance_embeds),
        "text_encoder": text.clip_large(),
        "text_encoder_2": text.t5_xxl(),
        "vae": _vae((128, 256, 512, 512)),
    }


def _tiny() -> dict[str, Any]:
    sizes = {"num_layers": 2, "num_single_layers": 2, "attention_head_dim": 16, "num_attention_heads": 4}
    return {
        "transformer": _transformer(
            guidance_embeds=True, joint_attention_dim=64, pooled_projection_dim=32, axes_dims_rope=(4, 6, 6), **sizes
        ),
        "text_encoder": text.clip_tiny(),
        "text_encoder_2": text.t5_tiny(),
        "vae": _vae((16, 16, 16, 16), norm_num_groups=8),
    }


def _scheduler(schnell: bool) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    if schnell:
        return FlowMatchEulerDiscreteScheduler(shift=1.0)
    return FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096
    )


def _build(components: Callable[[], dict[str, Any]], schnell: bool, device: str, dtype: Any, seed: int) -> Any:
    parts = with_random_weights(components, device, dtype, seed)
    from diffusers import FluxPipeline

    tokens = 256 if schnell else 512
    tokenizers = {"tokenizer": text.clip_tokenizer(), "tokenizer_2": text.t5_tokenizer(tokens)}
    return FluxPipeline(scheduler=_scheduler(schnell), **tokenizers, **parts)


def _load(weights: str, dtype: Any) -> Any:
    from diffusers import FluxPipeline

    return FluxPipeline.from_pretrained(weights, dtype=dtype)


def _call_kwargs(text_tokens: int, spec: RunSpec, steps: int) -> dict[str, Any]:
    kwargs = {"prompt": spec.prompt, "num_inference_steps": steps, "height": spec.height, "width": spec.width}
    kwargs |= {"num_images_per_prompt": spec.batch, "max_sequence_length": text_tokens}
    return kwargs | ({} if spec.guidance is None else {"guidance_scale": spec.guidance})


def flux_inputs(text_tokens: int, spec: RunSpec, part: str, component: Any, tokens: int | None = None) -> dict[str, Any]:
    """Keyword arguments of one call of a part as the pipeline makes it, on torch's default device and dtype.

    Args:
        tokens: text tokens, where fewer than the model's own are wanted.
    """
    import torch

    height, width, config = int(spec.height or 1024) // 16, int(spec.width or 1024) // 16, component.config
    batch, tokens = spec.batch, tokens or text_tokens
    if part == "vae":
        return {"z": torch.randn(batch, config.latent_channels, height * 2, width * 2), "return_dict": False}
    if part != "transformer":
        return text.encoder_inputs(component, tokens)
    return {
        "hidden_states": torch.randn(batch, height * width, config.in_channels),
        "encoder_hidden_states": torch.randn(batch, tokens, config.joint_attention_dim),
        "pooled_projections": torch.randn(batch, config.pooled_projection_dim),
        "timestep": torch.ones(batch),
        "guidance": torch.ones(batch, dtype=torch.float32) if config.guidance_embeds else None,
        "img_ids": torch.zeros(height * width, 3),
        "txt_ids": torch.zeros(tokens, 3),
        "return_dict": False,
    }


def flux_rows(text_tokens: int, spec: RunSpec, pipe: Any) -> dict[str, dict[str, int]]:
    """M of every Linear of the transformer and the VAE's decoder at the spec's size and batch."""
    return {
        "transformer": rows_on_meta(pipe.transformer, lambda twin: twin(**flux_inputs(text_tokens, spec, "transformer", twin))),
        "vae": rows_on_meta(pipe.vae, lambda twin: twin.decode(**flux_inputs(text_tokens, spec, "vae", twin))),
    }


def _register(
    name: str, summary: str, components: Callable[[], dict[str, Any]], *, tokens: int, schnell: bool = False, **more: Any
) -> None:
    MODELS.add(
        name,
        Model(
            name=name,
            summary=summary,
            build=partial(_build, components, schnell),
            load=_load,
            call_kwargs=partial(_call_kwargs, tokens),
            rows=partial(flux_rows, tokens),
            inputs=partial(flux_inputs, tokens),
            components=components,
            context_parallel=True,
            **more,
        ),
    )


_SHARED = {"text_encoder": 123_060_480, "text_encoder_2": 4_762_310_656, "vae": 83_819_683}
_register(
    "flux-dev",
    "FLUX.1-dev, 28 steps at 1024 px",
    partial(_full, True),
    tokens=512,
    defaults={"steps": 28, "height": 1024, "width": 1024, "guidance": 3.5},
    parameters={"transformer": 11_901_408_320, **_SHARED},
)
_register(
    "flux-schnell",
    "FLUX.1-schnell, 4 steps at 1024 px",
    partial(_full, False),
    tokens=256,
    schnell=True,
    defaults={"steps": 4, "height": 1024, "width": 1024, "guidance": 0.0},
    parameters={"transformer": 11_891_178_560, **_SHARED},
)
_register(
    "flux-tiny",
    "a Flux of 2 + 2 small blocks, seconds on a CPU",
    _tiny,
    tokens=64,
    defaults={"steps": 4, "height": 128, "width": 128, "guidance": 3.5},
)

"""CogVideoX: 2b, 5b, and a tiny one of the same structure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from profiler.core.spec import RunSpec
from profiler.models import text
from profiler.models.base import MODELS, Model
from profiler.models.random_weights import with_random_weights
from profiler.models.rows import rows_on_meta

_VAE_BLOCKS = {"down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4}


def _transformer(**config: Any) -> Any:
    from diffusers import CogVideoXTransformer3DModel

    return CogVideoXTransformer3DModel(**config).eval()


def _vae(scaling_factor: float, **config: Any) -> Any:
    from diffusers import AutoencoderKLCogVideoX

    return AutoencoderKLCogVideoX(scaling_factor=scaling_factor, **_VAE_BLOCKS, **config).eval()


def _full(rotary: bool) -> dict[str, Any]:
    sizes = {"num_attention_heads": 48, "num_layers": 42} if rotary else {"num_attention_heads": 30, "num_layers": 30}
    shape = {"sample_width": 90, "sample_height": 60, "sample_frames": 49, "max_text_seq_length": 226}
    return {
        "transformer": _transformer(attention_head_dim=64, use_rotary_positional_embeddings=rotary, **sizes, **shape),
        "text_encoder": text.t5_xxl(),
        "vae": _vae(0.7 if rotary else 1.15258426, block_out_channels=(128, 256, 256, 512), layers_per_block=3),
    }


def _tiny() -> dict[str, Any]:
    sizes = {"num_attention_heads": 4, "attention_head_dim": 16, "num_layers": 2, "text_embed_dim": 64, "time_embed_dim": 32}
    shape = {"sample_width": 16, "sample_height": 16, "sample_frames": 9, "max_text_seq_length": 32}
    return {
        "transformer": _transformer(use_rotary_positional_embeddings=True, **sizes, **shape),
        "text_encoder": text.t5_tiny(),
        "vae": _vae(0.7, block_out_channels=(16, 16, 16, 16), layers_per_block=1, norm_num_groups=8),
    }


def _scheduler(snr_shift: float) -> Any:
    from diffusers import CogVideoXDDIMScheduler

    return CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        rescale_betas_zero_snr=True,
        snr_shift_scale=snr_shift,
        timestep_spacing="trailing",
    )


def _build(components: Callable[[], dict[str, Any]], snr_shift: float, tokens: int, device: str, dtype: Any, seed: int) -> Any:
    parts = with_random_weights(components, device, dtype, seed)
    from diffusers import CogVideoXPipeline

    return CogVideoXPipeline(scheduler=_scheduler(snr_shift), tokenizer=text.t5_tokenizer(tokens), **parts)


def _load(weights: str, dtype: Any) -> Any:
    from diffusers import CogVideoXPipeline

    return CogVideoXPipeline.from_pretrained(weights, dtype=dtype)


def _call_kwargs(text_tokens: int, spec: RunSpec, steps: int) -> dict[str, Any]:
    # The pipeline takes num_videos_per_prompt and makes one video whatever it says: a batch is a list of prompts.
    kwargs = {"prompt": [spec.prompt] * spec.batch, "num_inference_steps": steps, "height": spec.height, "width": spec.width}
    kwargs |= {"num_frames": spec.frames, "max_sequence_length": text_tokens}
    return kwargs | ({} if spec.guidance is None else {"guidance_scale": spec.guidance})


def cogvideox_inputs(text_tokens: int, spec: RunSpec, part: str, component: Any, tokens: int | None = None) -> dict[str, Any]:
    """Keyword arguments of one call of a part as the pipeline makes it, on torch's default device and dtype.

    Guidance above 1 doubles the transformer's batch (CFG).

    Args:
        tokens: text tokens, where fewer than the model's own are wanted.
    """
    import torch

    height, width, config = int(spec.height or 480) // 8, int(spec.width or 720) // 8, component.config
    frames, tokens = (int(spec.frames or 49) - 1) // 4 + 1, tokens or text_tokens
    if part == "transformer" and not config.use_rotary_positional_embeddings:
        # Its positions are those of a text of full length.
        tokens = config.max_text_seq_length
    if part == "vae":
        return {"z": torch.randn(spec.batch, config.latent_channels, frames, height, width), "return_dict": False}
    if part != "transformer":
        inputs = text.encoder_inputs(component, tokens)
        return inputs | {"input_ids": inputs["input_ids"].repeat(spec.batch, 1)}
    batch = spec.batch * (2 if spec.guidance is None or spec.guidance > 1 else 1)
    patches = frames * (height // config.patch_size) * (width // config.patch_size)
    rotary = tuple(torch.ones(patches, config.attention_head_dim, dtype=torch.float32) for _ in range(2))
    return {
        "hidden_states": torch.randn(batch, frames, config.in_channels, height, width),
        "encoder_hidden_states": torch.randn(batch, tokens, config.text_embed_dim),
        "timestep": torch.ones(batch, dtype=torch.int64),
        "image_rotary_emb": rotary if config.use_rotary_positional_embeddings else None,
        "return_dict": False,
    }


def cogvideox_rows(text_tokens: int, spec: RunSpec, pipe: Any) -> dict[str, dict[str, int]]:
    """M of every Linear of the transformer; its VAE has none."""

    def forward(twin: Any) -> Any:
        return twin(**cogvideox_inputs(text_tokens, spec, "transformer", twin))

    return {"transformer": rows_on_meta(pipe.transformer, forward), "vae": {}}


def _register(
    name: str, summary: str, components: Callable[[], dict[str, Any]], *, tokens: int, snr_shift: float, **more: Any
) -> None:
    MODELS.add(
        name,
        Model(
            name=name,
            summary=summary,
            build=partial(_build, components, snr_shift, tokens),
            load=_load,
            call_kwargs=partial(_call_kwargs, tokens),
            rows=partial(cogvideox_rows, tokens),
            inputs=partial(cogvideox_inputs, tokens),
            components=components,
            makes_video=True,
            # Four frames a latent one; of an even number of latent frames the VAE's decoder makes too many frames.
            frames_multiple=8,
            **more,
        ),
    )


_SHARED = {"text_encoder": 4_762_310_656, "vae": 215_583_907}
_DEFAULTS = {"steps": 50, "height": 480, "width": 720, "frames": 49, "guidance": 6.0}
_register(
    "cogvideox-2b",
    "CogVideoX-2b, 50 steps, 49 frames of 480x720",
    partial(_full, False),
    tokens=226,
    snr_shift=3.0,
    defaults=_DEFAULTS,
    parameters={"transformer": 1_693_783_872, **_SHARED},
)
_register(
    "cogvideox-5b",
    "CogVideoX-5b, 50 steps, 49 frames of 480x720",
    partial(_full, True),
    tokens=226,
    snr_shift=1.0,
    defaults=_DEFAULTS,
    parameters={"transformer": 5_570_283_072, **_SHARED},
)
_register(
    "cogvideox-tiny",
    "a CogVideoX of 2 small blocks, seconds on a CPU",
    _tiny,
    tokens=32,
    snr_shift=1.0,
    defaults={"steps": 4, "height": 64, "width": 64, "frames": 9, "guidance": 6.0},
)

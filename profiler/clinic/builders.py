"""The pipelines of the clinic, as `profiler.clinic.builders:NAME`: a fault's name, `clean BASE` or `fixed FAULT`.

On a CPU the tiny Flux, compiled by the backend `aot_eager`; on a GPU a Flux of full width and little depth, called with prompt
embeddings and for latents alone: encoders and decoders as small as these would have faults of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from profiler.clinic.base import FAULTS, Plant, harmless

_TOKENS = 64
# For faults that compile in every step: Inductor would take minutes, and dynamo shows them with any backend.
CHEAP = "flux, compiled cheaply"
# The base whose fault is in the VAE: a decoder of convolutions alone.
DECODES = "flux with a convolutional VAE"


def __getattr__(name: str) -> Callable[..., Any]:
    """The function that builds the pipeline called `name`: one for each fault and base, made when it is asked for."""
    kind, _, rest = name.partition(" ")
    if kind == "clean" and rest in BASES:
        return partial(_build, rest, harmless)
    if kind == "fixed" and rest in FAULTS:
        return partial(_build, FAULTS.get(rest).base, FAULTS.get(rest).clean)
    if name in FAULTS:
        return partial(_build, FAULTS.get(name).base, FAULTS.get(name).plant)
    raise AttributeError(f"{__name__} has no pipeline called {name!r}")


def _build(base: str, change: Plant, device: str, dtype: Any, seed: int) -> Any:
    pipe = _flux(_conv_vae if base == DECODES else _tiny_vae, device, dtype, seed)
    pipe.clinic_given = {"max_sequence_length": _TOKENS}
    if device == "cuda":
        pipe.clinic_given |= _steps_alone(pipe, decode=base == DECODES)
    change(pipe)
    if device == "cpu" or base == CHEAP:
        _compile_cheaply(pipe.transformer)
    return pipe


def _flux(vae: Callable[[], Any], device: str, dtype: Any, seed: int) -> Any:
    from profiler.models import text
    from profiler.models.random_weights import with_random_weights

    parts = with_random_weights(lambda: _components(vae, device), device, dtype, seed)
    from diffusers import FluxPipeline

    pipe = FluxPipeline(scheduler=_scheduler(), tokenizer=text.clip_tokenizer(), tokenizer_2=text.t5_tokenizer(_TOKENS), **parts)
    return _with_own_arguments(pipe)


def _components(vae: Callable[[], Any], device: str) -> dict[str, Any]:
    from profiler.models import text

    parts = {"transformer": _transformer(device), "text_encoder": text.clip_tiny(), "text_encoder_2": text.t5_tiny()}
    return parts | {"vae": vae()}


def _transformer(device: str) -> Any:
    from diffusers import FluxTransformer2DModel

    # Blocks of one kind: each fault is compiled once, and shows as often as there are blocks.
    sizes: dict[str, Any] = {"num_layers": 6, "num_single_layers": 0}
    if device == "cpu":
        sizes |= {"num_layers": 3, "attention_head_dim": 16, "num_attention_heads": 4}
        sizes["axes_dims_rope"] = (4, 6, 6)
    return FluxTransformer2DModel(
        in_channels=64, guidance_embeds=True, joint_attention_dim=64, pooled_projection_dim=32, **sizes
    ).eval()


def _tiny_vae() -> Any:
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    numbers = {"layers_per_block": 2, "latent_channels": 16, "scaling_factor": 0.36, "shift_factor": 0.12, "norm_num_groups": 8}
    convolutions = {"use_quant_conv": False, "use_post_quant_conv": False}
    return AutoencoderKL(block_out_channels=(16,) * 4, **blocks, **numbers, **convolutions).eval()


def _conv_vae() -> Any:
    from diffusers import AutoencoderTiny

    wide: dict[str, Any] = {"encoder_block_out_channels": (128,) * 4, "decoder_block_out_channels": (128,) * 4}
    return AutoencoderTiny(latent_channels=16, scaling_factor=0.36, shift_factor=0.12, **wide).eval()


def _steps_alone(pipe: Any, decode: bool) -> dict[str, Any]:
    """Arguments that leave text encoding out, and decoding where no fault is in it."""
    import torch

    config, like = pipe.transformer.config, {"device": pipe.transformer.device, "dtype": pipe.transformer.dtype}
    embeds = torch.zeros(1, _TOKENS, config.joint_attention_dim, **like)
    pooled = torch.zeros(1, config.pooled_projection_dim, **like)
    given = {"prompt": None, "prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
    return given if decode else given | {"output_type": "latent"}


def _scheduler() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def _with_own_arguments(pipe: Any) -> Any:
    """Arguments of the base's own, and a place where a fault may change what a call is given."""
    original = type(pipe)

    # Its signature is the original's: the arguments that a call may be given are read from it.
    @wraps(original.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        change = vars(self).get("clinic_call")
        given = kwargs | self.clinic_given
        given = change(given) if change else given
        return original.__call__(self, *args, **given, **_latents(self, given))

    pipe.__class__ = type(original.__name__, (original,), {"__call__": call, "__module__": original.__module__})
    return pipe


def _latents(pipe: Any, given: dict[str, Any]) -> dict[str, Any]:
    """On a GPU the latents of a size, drawn once: drawing them on the CPU takes as long as a step, each time another."""
    if "prompt_embeds" not in given:
        return {}
    import torch

    tokens = given["height"] * given["width"] // 256
    shape = (given.get("num_images_per_prompt", 1), tokens, pipe.transformer.config.in_channels)
    return {"latents": torch.zeros(shape, device=pipe.transformer.device, dtype=pipe.transformer.dtype)}


def _compile_cheaply(transformer: Any) -> None:
    """What Inductor would add on a CPU is a minute of C++ compiling: dynamo's own faults show with any backend."""
    for module in transformer.modules():
        module.compile = partial(_aot_eager, module.compile)


def _aot_eager(compile_: Callable[..., Any], **options: Any) -> Any:
    return compile_(backend="aot_eager", **{key: value for key, value in options.items() if key != "mode"})


BASES = ("flux", CHEAP, DECODES)

"""The pipelines of the clinic, as `profiler.clinic.builders:NAME`: a fault's name, `clean BASE` or `fixed FAULT`.

On a CPU the tiny Flux, compiled by the backend `aot_eager`; on a GPU a Flux of full width and little depth. Encoders and VAE are
tiny on both: the faults are in the transformer and the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from profiler.clinic.base import FAULTS, Plant, harmless

_TOKENS = 64
# For faults that compile in every step: Inductor would take minutes, and dynamo shows them with any backend.
CHEAP = "flux, compiled cheaply"
_WIDTH = {"tiny": (16, 16, 16, 16), "wide": (64, 128, 256, 256)}


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
    pipe = BASES[base](device, dtype, seed)
    change(pipe)
    if device == "cpu" or base == CHEAP:
        _compile_cheaply(pipe.transformer)
    return pipe


def _flux(vae: str, device: str, dtype: Any, seed: int) -> Any:
    from diffusers import FluxPipeline

    from profiler.models import text
    from profiler.models.random_weights import with_random_weights

    parts = with_random_weights(lambda: _components(vae, device), device, dtype, seed)
    pipe = FluxPipeline(scheduler=_scheduler(), tokenizer=text.clip_tokenizer(), tokenizer_2=text.t5_tokenizer(_TOKENS), **parts)
    return _with_short_text(pipe)


def _components(vae: str, device: str) -> dict[str, Any]:
    from profiler.models import text

    parts = {"transformer": _transformer(device), "text_encoder": text.clip_tiny(), "text_encoder_2": text.t5_tiny()}
    return parts | {"vae": _vae(_WIDTH[vae])}


def _transformer(device: str) -> Any:
    from diffusers import FluxTransformer2DModel

    sizes: dict[str, Any] = {"num_layers": 2, "num_single_layers": 4}
    if device == "cpu":
        sizes = {"num_layers": 2, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 4}
        sizes["axes_dims_rope"] = (4, 6, 6)
    return FluxTransformer2DModel(
        in_channels=64, guidance_embeds=True, joint_attention_dim=64, pooled_projection_dim=32, **sizes
    ).eval()


def _vae(channels: tuple[int, ...]) -> Any:
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    numbers = {"layers_per_block": 2, "latent_channels": 16, "scaling_factor": 0.36, "shift_factor": 0.12, "norm_num_groups": 8}
    convolutions = {"use_quant_conv": False, "use_post_quant_conv": False}
    return AutoencoderKL(block_out_channels=channels, **blocks, **numbers, **convolutions).eval()


def _scheduler() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def _with_short_text(pipe: Any) -> Any:
    """Few text tokens by default, and a place where a fault may change what a call is given."""
    original = type(pipe)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        change = vars(self).get("clinic_call")
        given = {"max_sequence_length": _TOKENS} | kwargs
        return original.__call__(self, *args, **(change(given) if change else given))

    pipe.__class__ = type(original.__name__, (original,), {"__call__": call, "__module__": original.__module__})
    return pipe


def _compile_cheaply(transformer: Any) -> None:
    """What Inductor would add on a CPU is a minute of C++ compiling: dynamo's own faults show with any backend."""
    for module in transformer.modules():
        module.compile = partial(_aot_eager, module.compile)


def _aot_eager(compile_: Callable[..., Any], **options: Any) -> Any:
    return compile_(backend="aot_eager", **{key: value for key, value in options.items() if key != "mode"})


BASES: dict[str, Callable[[str, Any, int], Any]] = {
    "flux": partial(_flux, "tiny"),
    CHEAP: partial(_flux, "tiny"),
    "flux with a wide VAE": partial(_flux, "wide"),
}

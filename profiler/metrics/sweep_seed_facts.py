"""What the seed says about how it measured; its tables are in `data/seed.csv`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setup:
    """How the seed measured a model.

    Args:
        seed_name: what its tables call the model.
        steps, height, width, frames: of the timed call.
        guidance: where a value above 1 doubles the batch, the pipeline's default; None where it changes no time.
        text_encoder: the component that it quantized beside the transformer; "" for none. Not said in its tables: model memory
            of its quantized CogVideoX rows is that of a quantized T5.
    """

    seed_name: str
    steps: int
    height: int
    width: int
    frames: int | None = None
    guidance: float | None = None
    text_encoder: str = ""


SETUPS = {
    "flux-dev": Setup("FLUX.1-dev", steps=28, height=1024, width=1024),
    "cogvideox-5b": Setup("CogVideoX-5b", steps=50, height=480, width=720, frames=49, guidance=6.0, text_encoder="text_encoder"),
    "cogvideox-2b": Setup("CogVideoX-2b", steps=50, height=480, width=720, frames=49, guidance=6.0, text_encoder="text_encoder"),
}

COMPILE_MODE = "max-autotune"
SOFTWARE = "nightlies of torch and torchao of 2024 and CUDA 12.2"

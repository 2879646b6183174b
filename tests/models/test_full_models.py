"""The full-size models, on the meta device: parameter counts and Linear calls as the published models have them."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from profiler.core.spec import RunSpec
from profiler.models.base import MODELS

CLIP, T5, FLUX_VAE, COG_VAE = 123_060_480, 4_762_310_656, 83_819_683, 215_583_907
PUBLISHED = {
    "flux-dev": {"transformer": 11_901_408_320, "text_encoder": CLIP, "text_encoder_2": T5, "vae": FLUX_VAE},
    "flux-schnell": {"transformer": 11_891_178_560, "text_encoder": CLIP, "text_encoder_2": T5, "vae": FLUX_VAE},
    "cogvideox-2b": {"transformer": 1_693_783_872, "text_encoder": T5, "vae": COG_VAE},
    "cogvideox-5b": {"transformer": 5_570_283_072, "text_encoder": T5, "vae": COG_VAE},
}


@pytest.fixture(scope="module")
def on_meta():
    """The components of a full model on the meta device, built once each."""
    built = {}

    def get(name: str) -> SimpleNamespace:
        if name not in built:
            with torch.device("meta"):
                built[name] = SimpleNamespace(**MODELS.get(name).components())
        return built[name]

    return get


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts(on_meta, name: str):
    counted = {part: sum(each.numel() for each in module.parameters()) for part, module in vars(on_meta(name)).items()}
    assert counted == PUBLISHED[name]
    assert dict(MODELS.get(name).parameters) == PUBLISHED[name]


def transformer_calls(on_meta, name: str) -> tuple[dict[str, int], dict[str, torch.nn.Linear]]:
    model = MODELS.get(name)
    pipe = on_meta(name)
    rows = model.rows(model.resolve(RunSpec(model=name)), pipe)["transformer"]
    return rows, {each: module for each, module in pipe.transformer.named_modules() if isinstance(module, torch.nn.Linear)}


def test_rows_of_flux_dev(on_meta):
    rows, linears = transformer_calls(on_meta, "flux-dev")
    assert set(rows) == set(linears)
    assert Counter(rows.values()) == {4608: 190, 4096: 116, 512: 115, 1: 83}
    shapes = Counter((m, linears[name].in_features, linears[name].out_features) for name, m in rows.items())
    assert shapes[4608, 15360, 3072] == shapes[4608, 3072, 12288] == 38
    assert shapes[4608, 3072, 3072] == 114
    flops = sum(2 * m * linears[name].in_features * linears[name].out_features for name, m in rows.items())
    assert flops / 1e12 == pytest.approx(59.5, abs=0.1)


def test_rows_of_flux_schnell_have_no_guidance_embedding_and_fewer_text_tokens(on_meta):
    rows, _ = transformer_calls(on_meta, "flux-schnell")
    assert len(rows) == 502
    assert rows["transformer_blocks.0.attn.add_q_proj"] == 256
    assert rows["single_transformer_blocks.0.attn.to_q"] == 4096 + 256


def test_rows_of_cogvideox_5b(on_meta):
    rows, linears = transformer_calls(on_meta, "cogvideox-5b")
    assert set(rows) == set(linears)
    assert len(rows) == 341
    shapes = Counter((m, linears[name].in_features, linears[name].out_features) for name, m in rows.items())
    # Two videos for guidance, 13 latent frames of 30 x 45 patches, and 226 text tokens.
    tokens = 2 * (13 * 30 * 45 + 226)
    assert tokens == 35552
    assert (shapes[tokens, 3072, 3072], shapes[tokens, 3072, 12288], shapes[tokens, 12288, 3072]) == (168, 42, 42)


def test_rows_follow_the_batch_and_the_size(on_meta):
    model, pipe = MODELS.get("flux-dev"), on_meta("flux-dev")
    rows = model.rows(model.resolve(RunSpec(model="flux-dev", height=512, width=768, batch=3)), pipe)["transformer"]
    assert rows["single_transformer_blocks.0.attn.to_q"] == 3 * (32 * 48 + 512)
    assert rows["transformer_blocks.0.norm1.linear"] == 3


def test_guidance_of_one_halves_the_rows_of_a_video(on_meta):
    model, pipe = MODELS.get("cogvideox-5b"), on_meta("cogvideox-5b")
    rows = model.rows(model.resolve(RunSpec(model="cogvideox-5b", guidance=1.0)), pipe)["transformer"]
    assert rows["transformer_blocks.0.attn1.to_q"] == 35552 // 2

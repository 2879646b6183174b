"""The tiny models, run for real: weights by seed and name, outputs finite, every component called."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.models.base import MODELS
from profiler.models.random_weights import fill

SPECS = {
    "flux-tiny": RunSpec(model="flux-tiny", height=64, width=64),
    "cogvideox-tiny": RunSpec(model="cogvideox-tiny", height=64, width=64, frames=9),
}
PARTS = {
    "flux-tiny": ("text_encoder", "text_encoder_2", "transformer", "vae"),
    "cogvideox-tiny": ("text_encoder", "transformer", "vae"),
}


def build(name: str, seed: int = 0, dtype: Any = torch.bfloat16) -> Any:
    return MODELS.get(name).build("cpu", dtype, seed)


def call(name: str, pipe: Any, steps: int = 2, output_type: str = "np") -> Any:
    model = MODELS.get(name)
    kwargs = model.call_kwargs(model.resolve(SPECS[name]), steps) | {"generator": torch.Generator().manual_seed(0)}
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        return pipe(**kwargs, output_type=output_type)


def tensors(pipe: Any, name: str) -> dict[str, torch.Tensor]:
    return {f"{part}.{key}": value for part in PARTS[name] for key, value in getattr(pipe, part).state_dict().items()}


@pytest.mark.parametrize("name", SPECS)
def test_weights_are_a_function_of_the_seed(name: str):
    first, again, other = (tensors(build(name, seed), name) for seed in (0, 0, 1))
    assert first.keys() == again.keys() == other.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    matrices = [key for key, value in first.items() if value.dim() >= 2 and value.is_floating_point()]
    assert len(matrices) > 50
    same = [key for key in matrices if torch.equal(first[key], other[key])]
    # Sinusoidal tables are computed, not drawn.
    assert all("embed" in key for key in same)
    assert len(same) < 3


def test_weights_do_not_depend_on_what_was_built_before():
    whole = build("flux-tiny").transformer.state_dict()
    torch.manual_seed(99)
    parts = MODELS.get("flux-tiny").components()
    alone = parts["transformer"].to(torch.bfloat16)
    fill(alone, 0, "transformer")
    assert all(torch.equal(whole[key], value) for key, value in alone.state_dict().items())


def test_weights_of_one_name_differ_by_component():
    one, other = torch.nn.Linear(64, 64, bias=False), torch.nn.Linear(64, 64, bias=False)
    fill(one, 0, "vae")
    fill(other, 0, "transformer")
    assert not torch.equal(one.weight, other.weight)
    assert one.weight.std().item() == pytest.approx(64**-0.5, rel=0.1)


@pytest.mark.parametrize(("name", "shape"), [("flux-tiny", (1, 64, 64, 3)), ("cogvideox-tiny", (1, 9, 64, 64, 3))])
def test_every_component_runs_and_the_output_is_finite(name: str, shape: tuple[int, ...]):
    pipe = build(name)
    counts: Counter[str] = Counter()

    def counting(part: str, inner: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[part] += 1
            return inner(*args, **kwargs)

        return counted

    for part in PARTS[name]:
        module = getattr(pipe, part)
        method = "decode" if part == "vae" else "forward"
        setattr(module, method, counting(part, getattr(module, method)))
    output = call(name, pipe, steps=3)
    picture = output.images if name == "flux-tiny" else output.frames
    assert picture.shape == shape
    assert np.isfinite(picture).all()
    assert picture.std() > 0.01
    assert counts["transformer"] == 3
    assert counts["vae"] == 1
    # CogVideoX encodes the negative prompt too.
    assert {part: counts[part] for part in PARTS[name] if part.startswith("text")} == (
        {"text_encoder": 1, "text_encoder_2": 1} if name == "flux-tiny" else {"text_encoder": 2}
    )


def test_a_video_has_as_many_frames_as_asked():
    pipe, model = build("cogvideox-tiny"), MODELS.get("cogvideox-tiny")
    pipe.set_progress_bar_config(disable=True)
    for frames in (1, 17):
        spec = model.resolve(RunSpec(model="cogvideox-tiny", height=64, width=64, frames=frames))
        with torch.no_grad():
            assert pipe(**model.call_kwargs(spec, 1), output_type="np").frames.shape[1] == frames


@pytest.mark.parametrize("name", SPECS)
def test_the_same_call_gives_the_same_latents(name: str):
    kind = "images" if name == "flux-tiny" else "frames"
    first, again = (getattr(call(name, build(name), output_type="latent"), kind) for _ in range(2))
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)


def test_the_prompt_reaches_the_latents():
    pipe, model = build("flux-tiny"), MODELS.get("flux-tiny")
    pipe.set_progress_bar_config(disable=True)
    found = []
    for prompt in ("a cat", "two dogs"):
        kwargs = model.call_kwargs(model.resolve(SPECS["flux-tiny"]), 1) | {"prompt": prompt}
        with torch.no_grad():
            found.append(pipe(**kwargs, generator=torch.Generator().manual_seed(0), output_type="latent").images)
    assert not torch.equal(*found)


def test_real_weights_come_back_bit_by_bit(tmp_path):
    made = build("flux-tiny", seed=5)
    made.save_pretrained(tmp_path)
    load = MODELS.get("flux-tiny").load
    assert load is not None
    read = load(str(tmp_path), torch.bfloat16)
    before, after = tensors(made, "flux-tiny"), tensors(read, "flux-tiny")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) and before[key].dtype == after[key].dtype for key in before)
    assert torch.equal(call("flux-tiny", made, output_type="latent").images, call("flux-tiny", read, output_type="latent").images)


@pytest.mark.parametrize("name", SPECS)
def test_defaults_fill_only_what_is_open(name: str):
    model = MODELS.get(name)
    resolved = model.resolve(RunSpec(model=name, steps=7))
    assert resolved.steps == 7
    assert {each: getattr(resolved, each) for each in model.defaults if each != "steps"} == {
        each: value for each, value in model.defaults.items() if each != "steps"
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (RunSpec(model="flux-tiny", frames=9), "flux-tiny makes images, and --frames 9 was asked"),
        (RunSpec(model="flux-dev", width=1000), "multiples of 16 pixels, and width is 1000"),
        (RunSpec(model="flux-dev", height=8), "multiples of 16 pixels, and height is 8"),
        (RunSpec(model="cogvideox-tiny", frames=8), "needs 8 n + 1 frames, and 8 were asked"),
        (RunSpec(model="cogvideox-2b", frames=13), "needs 8 n + 1 frames, and 13 were asked"),
    ],
)
def test_what_a_model_cannot_take_is_refused(spec: RunSpec, message: str):
    with pytest.raises(UsageError, match=message.replace("+", r"\+")):
        MODELS.get(spec.model).resolve(spec)


@pytest.mark.parametrize(
    ("name", "fused", "rows"),
    [
        ("flux-tiny", "single_transformer_blocks.0.attn.to_qkv", 16 + 64),
        ("flux-tiny", "transformer_blocks.1.attn.to_added_qkv", 64),
        ("cogvideox-tiny", "transformer_blocks.0.attn1.to_qkv", 2 * (3 * 4 * 4 + 32)),
    ],
)
def test_fused_projections_are_counted(name: str, fused: str, rows: int):
    pipe, model = build(name), MODELS.get(name)
    pipe.transformer.fuse_qkv_projections()
    found = model.rows(model.resolve(SPECS[name]), pipe)["transformer"]
    assert found[fused] == rows
    # The separate projections stay in the module and are never called.
    assert fused.rpartition(".")[0] + ".to_q" not in found


def test_a_batch_of_videos_is_a_list_of_prompts():
    # CogVideoXPipeline sets num_videos_per_prompt to 1 whatever it is given.
    model = MODELS.get("cogvideox-tiny")
    spec = model.resolve(RunSpec(model="cogvideox-tiny", height=64, width=64, frames=9, batch=2))
    kwargs = model.call_kwargs(spec, 1)
    assert kwargs["prompt"] == [spec.prompt] * 2
    assert len(model.build("cpu", torch.float32, 0)(**kwargs).frames) == 2
    encoder = model.components()["text_encoder"]
    assert model.inputs(spec, "text_encoder", encoder, None)["input_ids"].shape == (2, 32)

"""VAE tiling and slicing: switched on for real, described, compared with the whole, and checked by the output's shape."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fakes import SMALL, called, made
from PIL import Image
from processes import QUICK, diffuscope

from profiler.core.errors import RecordedProgramFailed, UsageError
from profiler.placement.vae import apply_vae, describe_vae, vae_notes
from profiler.recording.checked_call import CheckedCall, check_shape, shape_of

pytestmark = pytest.mark.usefixtures("one_thread")
# Tiles of 4 latent pixels of 8 with a quarter (flux) or a half of overlap: what fits together.
GOOD = {"cogvideox-tiny": {"tile_sample_min_height": 32, "tile_sample_min_width": 32}}
GOOD["cogvideox-tiny"] |= {"tile_overlap_factor_height": 0.25, "tile_overlap_factor_width": 0.5}
# 5 latent pixels less a sixth are 4.17: diffusers cuts tiles every 4 and keeps 34 pixels of each.
BAD = {"tile_sample_min_height": 40, "tile_sample_min_width": 40}


def tile(pipe: Any, model: str) -> None:
    """Tiles smaller than the tiny picture."""
    if model == "flux-tiny":
        pipe.vae.tile_sample_min_size, pipe.vae.tile_latent_min_size = 32, 4
        apply_vae(pipe, tiling=True, slicing=False)
    else:
        pipe.vae.enable_tiling(**GOOD[model])


@pytest.mark.parametrize("model", SMALL)
def test_tiles_give_the_same_shape_and_nearly_the_same_picture(model: str):
    plan, pipe = made(model)
    whole = called(plan, pipe).float()
    decoded: list[Any] = []
    inner = pipe.vae.tiled_decode
    pipe.vae.tiled_decode = lambda *args, **kwargs: decoded.append(args) or inner(*args, **kwargs)
    tile(pipe, model)
    tiled = called(plan, pipe).float()
    assert len(decoded) == 1
    assert tiled.shape == whole.shape
    # Tiles see less of their surroundings, and group norms other means: alike, and not the same.
    assert not torch.equal(tiled, whole)
    assert torch.corrcoef(torch.stack((tiled.flatten(), whole.flatten())))[0, 1] > 0.7


@pytest.mark.parametrize("model", SMALL)
def test_slices_give_the_same_batch(model: str):
    plan, pipe = made(model, batch=2)
    whole = called(plan, pipe)
    sizes: list[int] = []
    inner = pipe.vae._decode
    pipe.vae._decode = lambda z, *args, **kwargs: sizes.append(len(z)) or inner(z, *args, **kwargs)
    apply_vae(pipe, tiling=False, slicing=True)
    assert torch.allclose(called(plan, pipe).float(), whole.float(), atol=2e-2)
    assert sizes == [1, 1]


def test_what_is_on_is_read_off_the_vae():
    _, pipe = made("cogvideox-tiny")
    assert describe_vae(pipe) == {"tiling": None, "slicing": False}
    apply_vae(pipe, tiling=True, slicing=True)
    found = describe_vae(pipe)
    assert found["slicing"] is True
    assert found["tiling"]["tile_sample_min_height"] == 240
    assert found["tiling"]["tile_latent_min_width"] == 45
    assert describe_vae(SimpleNamespace()) == {"tiling": None, "slicing": False}


def test_options_that_change_nothing_are_noted():
    _, pipe = made("cogvideox-tiny")
    apply_vae(pipe, tiling=True, slicing=True)
    slicing, tiling = vae_notes(pipe, height=64, width=64, batch=1)
    assert "with --batch 1 it changes nothing" in slicing
    assert "larger than 240x360: at 64x64 it changes nothing" in tiling
    assert vae_notes(pipe, height=480, width=720, batch=2) == []
    assert vae_notes(pipe, height=None, width=None, batch=2) == []


def test_a_vae_that_cannot_is_named():
    def refuse() -> None:
        raise NotImplementedError("Tiling doesn't seem to be implemented for Mine.")

    for vae, message in ((None, "has no VAE that can"), (SimpleNamespace(enable_tiling=refuse), "implemented for Mine")):
        with pytest.raises(UsageError, match=message):
            apply_vae(SimpleNamespace(vae=vae), tiling=True, slicing=False)


def test_tiles_that_do_not_fit_together_fail_the_run():
    plan, pipe = made("cogvideox-tiny")
    pipe.vae.enable_tiling(**BAD)
    kwargs = plan.model.call_kwargs(plan.spec, 1)
    call = CheckedCall(pipe, lambda _steps: kwargs, 1, "cpu")
    with pytest.raises(RecordedProgramFailed) as caught:
        call()
    assert caught.value.message == "the output is 1 x 9 frames of 66x64, and 1 x 9 frames of 64x64 was asked for"
    assert "record without --vae-tiling" in caught.value.hint


PICTURES, FRAMES = [Image.new("RGB", (48, 32))] * 2, [[Image.new("RGB", (48, 32))] * 9]


@pytest.mark.parametrize(
    ("output", "shape"),
    [
        (SimpleNamespace(images=PICTURES), {"count": 2, "height": 32, "width": 48}),
        (SimpleNamespace(images=np.zeros((2, 32, 48, 3))), {"count": 2, "height": 32, "width": 48}),
        (SimpleNamespace(images=torch.zeros(2, 3, 32, 48)), {"count": 2, "height": 32, "width": 48}),
        (SimpleNamespace(frames=FRAMES), {"count": 1, "frames": 9, "height": 32, "width": 48}),
        (SimpleNamespace(frames=torch.zeros(1, 9, 3, 32, 48)), {"count": 1, "frames": 9, "height": 32, "width": 48}),
        ((PICTURES,), {"count": 2, "height": 32, "width": 48}),
        (SimpleNamespace(latents=3), {}),
        (SimpleNamespace(images=torch.zeros(2, 64, 16)), {}),
        (SimpleNamespace(images=["a"]), {"count": 1}),
    ],
)
def test_the_shape_of_every_kind_of_output(output: Any, shape: dict[str, int]):
    assert shape_of(output) == shape


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"height": 32, "width": 64}, "2 x 32x48, and 2 x 32x64 was"),
        ({"height": 48, "width": 48}, "2 x 32x48, and 2 x 48x48 was"),
        ({"prompt": "a", "num_images_per_prompt": 4}, "2 x 32x48, and 4 x 32x48 was"),
        ({"prompt": "a", "num_videos_per_prompt": 4}, "2 x 32x48, and 4 x 32x48 was"),
        ({"prompt": ["a"] * 3}, "2 x 32x48, and 3 x 32x48 was"),
    ],
)
def test_each_wrong_dimension_is_found(asked: dict[str, int], message: str):
    with pytest.raises(RecordedProgramFailed, match=message):
        check_shape(SimpleNamespace(images=PICTURES), asked)


def test_frames_are_counted_and_what_is_open_is_not_compared():
    with pytest.raises(RecordedProgramFailed, match="1 x 9 frames of 32x48, and 1 x 17 frames of 32x48 was asked for"):
        check_shape(SimpleNamespace(frames=FRAMES), {"num_frames": 17})
    check_shape(SimpleNamespace(frames=FRAMES), {"height": None, "num_frames": 9})
    check_shape(SimpleNamespace(latents=3), {"height": 64})


def test_the_options_reach_the_run(tmp_path: Any):
    from profiler.rundir.reader import read_manifest

    options = ("--vae-tiling", "--vae-slicing", "--phases", "timed,memory", "-o", tmp_path / "run")
    done = diffuscope("record", "cogvideox-tiny", *QUICK, "--frames", "9", *options)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "run")
    placement = manifest.applied["placement"]
    assert (placement["offload"], placement["hooks"], placement["vae"]["slicing"]) == ("none", {}, True)
    assert placement["vae"]["tiling"]["tile_sample_min_height"] == 240
    assert len(manifest.applied["notes"]) == 2
    assert [each.name for each in manifest.phases] == ["load", "quantize", "warmup", "timed", "memory"]
    assert (manifest.untraced, manifest.traced) == ({}, {})
    assert {"rank0/trace.json.gz", "rank0/places.json.gz"}.isdisjoint(manifest.artifacts)

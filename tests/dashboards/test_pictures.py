"""Outputs of two runs: what differs and by how much; what cannot be held against each other says why."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_folders import write_run

from dashboards.charts import outputs
from dashboards.pictures import difference, latent_maps
from profiler.core.errors import UnreadableInput
from profiler.tables.run import Run


def with_picture(path: Path, values: np.ndarray) -> Run:
    run = Run.open(write_run(path))
    Image.fromarray(values.astype(np.uint8)).save(run.path / "output.png")
    return run


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_difference_is_brightened_until_it_can_be_seen(tmp_path: Path):
    base = np.full((4, 6, 3), 100)
    new = base.copy()
    new[1, 2] = (120, 95, 100)
    found = difference(with_picture(tmp_path / "new", new), with_picture(tmp_path / "base", base))
    assert (found.largest, found.changed) == (20, pytest.approx(1 / 24))
    assert found.mean == pytest.approx(25 / 72)
    assert found.gain == 12.75
    assert pixels(found.difference)[1, 2].tolist() == [255, 63, 0]
    assert pixels(found.difference).sum() == 255 + 63
    assert (pixels(found.new) == new).all()


def test_one_level_of_noise_does_not_fill_the_picture(tmp_path: Path):
    base = np.zeros((2, 2, 3))
    found = difference(with_picture(tmp_path / "new", base + 1), with_picture(tmp_path / "base", base))
    assert (found.gain, pixels(found.difference).max()) == (16.0, 16)


def test_equal_pictures_differ_nowhere(tmp_path: Path):
    base = np.full((2, 2, 3), 9)
    found = difference(with_picture(tmp_path / "new", base), with_picture(tmp_path / "base", base))
    assert (found.largest, found.changed, pixels(found.difference).max()) == (0, 0.0, 0)


def test_what_has_no_picture_or_another_size_says_so(tmp_path: Path):
    small, large = (with_picture(tmp_path / str(size), np.zeros((size, size, 3))) for size in (2, 4))
    with pytest.raises(UnreadableInput, match="the pictures are 4x4 px and 2x2 px"):
        difference(small, large)
    with pytest.raises(UnreadableInput, match=r"holds no output\.png"):
        difference(Run.open(write_run(tmp_path / "none")), large)


def with_latents(path: Path, values: np.ndarray, **spec: int) -> Run:
    run = write_run(path)
    manifest = json.loads((run / "run.json").read_text()) | {"spec": spec}
    (run / "run.json").write_text(json.dumps(manifest))
    np.savez_compressed(run / "output.npz", last_latents=values.astype(np.float32))
    return Run.open(run)


def test_packed_latents_lie_in_rows_of_the_picture(tmp_path: Path):
    base = np.zeros((1, 8, 4))
    new = base.copy()
    new[0, 5] = 3.0
    size = {"height": 32, "width": 64}
    found = latent_maps(with_latents(tmp_path / "new", new, **size), with_latents(tmp_path / "base", base, **size))
    assert found.difference == [[0.0] * 4, [0.0, 3.0, 0.0, 0.0]]
    assert outputs.highest([found.base, found.new]) == 3.0


def test_the_first_frame_of_a_video(tmp_path: Path):
    base = np.zeros((1, 2, 3, 2, 2))
    new = base.copy()
    new[0, 0, :, 1, 0] = 2.0
    new[0, 1] = 9.0
    found = latent_maps(with_latents(tmp_path / "new", new), with_latents(tmp_path / "base", base))
    assert found.difference == [[0.0, 0.0], [2.0, 0.0]]
    (heat,) = outputs.latents(found.difference, 2.0, "x").data
    assert (heat.zmax, [list(row) for row in heat.z]) == (2.0, [[0.0, 0.0], [2.0, 0.0]])


@pytest.mark.parametrize("shape", [(1, 7, 4), (1, 4), (1,)])
def test_latents_that_are_no_picture_are_said(tmp_path: Path, shape: tuple[int, ...]):
    runs = [with_latents(tmp_path / name, np.ones(shape), height=64, width=64) for name in ("new", "base")]
    with pytest.raises(UnreadableInput):
        latent_maps(*runs)

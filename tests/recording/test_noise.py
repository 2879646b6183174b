"""The noise of a call: of one seed, the same in every dtype, whatever the version of torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from profiler.models.base import MODELS
from profiler.recording.noise import draw_noise_alike

SHAPES: dict[str, tuple[Any, ...]] = {"flux-tiny": (1, 16, 128, 128), "cogvideox-tiny": (1, 16, 9, 64, 64)}


def latents(pipe: Any, name: str, dtype: torch.dtype) -> Any:
    return pipe.prepare_latents(*SHAPES[name], dtype, torch.device("cpu"), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", list(SHAPES))
def test_every_dtype_gets_the_numbers_of_float32_rounded(name: str, monkeypatch: pytest.MonkeyPatch):
    pipe = MODELS.get(name).build("cpu", torch.bfloat16, 0)
    exact = latents(pipe, name, torch.float32)
    # As torch before 2.12: other numbers in each dtype.
    module, randn = type(pipe).__module__, torch.randn
    monkeypatch.setattr(
        f"{module}.randn_tensor",
        lambda shape, *, generator, dtype, device: (
            randn(shape, generator=generator) if dtype == torch.float32 else torch.full(shape, 7.0, dtype=dtype)
        ),
    )
    assert draw_noise_alike(pipe) == "float32"
    for dtype in (torch.bfloat16, torch.float16):
        found = latents(pipe, name, dtype)
        if isinstance(exact, tuple):
            assert [each.dtype for each in found] == [dtype, dtype]
            # Positions are small whole numbers: nothing is lost.
            assert torch.equal(found[1].float(), exact[1])
            assert torch.equal(found[0], exact[0].to(dtype))
        else:
            assert found.dtype == dtype
            assert torch.equal(found, exact.to(dtype))


def test_a_pipeline_that_takes_no_dtype_draws_as_it_did():
    class Bare:
        def prepare_latents(self, shape: Any) -> Any:
            return shape

    pipe = Bare()
    assert draw_noise_alike(pipe) is None
    assert draw_noise_alike(object()) is None
    assert pipe.prepare_latents(4) == 4

"""A spec's sizes as the options that give them."""

from __future__ import annotations

import pytest

from profiler.core.shape_options import shape_options
from profiler.core.spec import RunSpec

OPTIONS = {
    "": {},
    " --batch 4": {"batch": 4},
    " --size 512": {"height": 512, "width": 512},
    " --size 480x720 --frames 9 --guidance 1.0": {"height": 480, "width": 720, "frames": 9, "guidance": 1.0},
    " --batch 2 --fuse-qkv": {"batch": 2, "fuse_qkv": True},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_what_differs_from_the_defaults_is_said(options: str):
    given = OPTIONS[options]
    assert shape_options(given) == options
    assert shape_options(RunSpec(model="flux-dev", **given).to_dict()) == options  # type: ignore[arg-type]

"""The int8 products of a step, from the meta device."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.tune.shapes import shapes_of_model


def found(model: str, **more: object) -> dict[str, int]:
    shapes, _ = shapes_of_model(RunSpec(model=model, **more))  # type: ignore[arg-type]
    assert len({each.shape for each in shapes}) == len(shapes)
    costs = [each.count * each.shape.ops for each in shapes]
    assert costs == sorted(costs, reverse=True), "the heaviest first"
    return {str(each.shape): each.count for each in shapes}


def test_flux_dev():
    assert found("flux-dev") == {
        "4608x15360x3072": 38,
        "4608x3072x12288": 38,
        "4608x3072x3072": 114,
        "4096x3072x3072": 76,
        "4096x3072x12288": 19,
        "4096x12288x3072": 19,
        "512x3072x3072": 76,
        "512x3072x12288": 19,
        "512x12288x3072": 19,
        "512x4096x3072": 1,
        "4096x64x3072": 1,
        "4096x3072x64": 1,
    }


def test_cogvideox_5b_counts_both_halves_of_the_guidance():
    shapes = found("cogvideox-5b")
    assert {name: shapes[name] for name in list(shapes)[:3]} == {
        "35552x3072x3072": 168,
        "35552x3072x12288": 42,
        "35552x12288x3072": 42,
    }


def test_rows_follow_batch_and_size():
    assert found("flux-tiny", batch=2, height=64, width=64)["32x64x64"] > 0
    small, large = found("flux-tiny", height=128, width=128), found("flux-tiny", height=128, width=256)
    assert {int(each.partition("x")[0]) for each in small} == {64, 64 + 64}
    assert {int(each.partition("x")[0]) for each in large} == {64, 128, 128 + 64}


def test_fused_projections_are_one_product():
    apart, fused = found("flux-tiny", height=64, width=64), found("flux-tiny", height=64, width=64, fuse_qkv=True)
    # Of the text in two blocks (the picture has 16 rows, too few for int8), and of both in two single blocks.
    assert (fused.pop("64x64x192"), fused.pop("80x64x192")) == (2, 2)
    assert {name: count - fused.get(name, 0) for name, count in apart.items()} == dict.fromkeys(apart, 0) | {
        "64x64x64": 6,
        "80x64x64": 6,
    }


def test_without_guidance_a_video_has_half_the_rows():
    guided, plain = found("cogvideox-tiny"), found("cogvideox-tiny", guidance=1.0)
    assert {name for name in guided if name.endswith("x64x256")} == {"160x64x256"}
    assert {name for name in plain if name.endswith("x64x256")} == {"80x64x256"}


def test_few_rows_are_no_int8_product():
    # At batch 1 the modulations have one row; 17 pictures make 17 rows, which int8dq takes.
    one, many = found("flux-tiny", height=64, width=64), found("flux-tiny", height=64, width=64, batch=17)
    assert not any(each.startswith("1x") for each in one)
    assert any(each.startswith("17x") for each in many)
    assert sum(many.values()) > sum(one.values())


def test_what_a_model_cannot_do_is_refused():
    with pytest.raises(UsageError, match="frames"):
        shapes_of_model(RunSpec(model="flux-tiny", frames=9))


def test_the_users_own_pipeline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "recording"))
    # Called without a length its text has 512 tokens, where that of flux-tiny has 64.
    own, registered = (found(name, height=64, width=64) for name in ("pipelines:tiny", "flux-tiny"))
    assert {name.replace("512x", "64x").replace("528x", "80x"): count for name, count in own.items()} == registered
    with pytest.raises(UsageError, match=r"does not run on the meta device: RuntimeError: Tensor\.item"):
        found("broken_pipelines:item", height=64, width=64)

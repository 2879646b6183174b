"""From a spec to a pipeline: what a pipeline of the user's own must have for what was asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from profiler.core.errors import UsageError
from profiler.core.plan_file import KIND, SCHEMA
from profiler.core.spec import RunSpec
from profiler.models.base import MODELS
from profiler.recording import prepare
from profiler.schemes.base import Hardware


class _UNetPipeline:
    unet = object()

    def to(self, _device: str) -> _UNetPipeline:
        return self

    def __call__(self) -> None: ...


def _load(**asked: Any) -> Any:
    model: Any = SimpleNamespace(build=lambda *_: _UNetPipeline(), load=None)
    return prepare.load(prepare.look_up(RunSpec(model="mine:make", **asked), model, Hardware("cpu")))


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        ({"scheme": "int8wo"}, "--scheme int8wo"),
        ({"compile": "regional"}, "--compile regional"),
        ({"fuse_qkv": True}, "--fuse-qkv"),
        ({"channels_last": True}, "--channels-last"),
    ],
)
def test_what_works_on_a_transformer_is_refused_where_there_is_none(asked: dict[str, Any], option: str):
    with pytest.raises(UsageError, match=f"{option} works on a pipeline's transformer, and mine:make has none") as caught:
        _load(**asked)
    assert f"leave {option} out" in caught.value.hint


@pytest.mark.parametrize(
    ("layer", "asked", "stranger"),
    [
        ("transformer.proj_out", {}, False),
        ("transformer.proj_in", {}, True),
        ("text_encoder_2.encoder.block.0.layer.0.SelfAttention.q", {}, True),
        ("text_encoder_2.encoder.block.0.layer.0.SelfAttention.q", {"quantize_text_encoder": True}, False),
        ("transformer.transformer_blocks.0.attn.to_qkv", {}, True),
        ("transformer.transformer_blocks.0.attn.to_qkv", {"fuse_qkv": True}, False),
    ],
)
def test_a_plan_for_other_layers_is_refused_before_weights_are_drawn(
    tmp_path: Path, layer: str, asked: dict[str, Any], stranger: bool
):
    class _Drawn(Exception):
        pass

    def build(*_: Any) -> Any:
        raise _Drawn

    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"kind": KIND, "schema": SCHEMA, "layers": {layer: "int8wo"}}))
    spec = RunSpec(model="flux-tiny", scheme=str(plan), **asked)
    with pytest.raises(UsageError if stranger else _Drawn) as caught:
        prepare.load(prepare.look_up(spec, replace(MODELS.get("flux-tiny"), build=build), Hardware("cpu")))
    if stranger:
        assert f"names {layer}, and no Linear that this run may quantize is called so" in str(caught.value)


def test_as_it_is_built_any_pipeline_is_recorded():
    assert isinstance(_load(), _UNetPipeline)
